import { kernelModule } from "../kernels/instance.js";
import type { KernelChoice } from "../kernels/native.js";
import type { WasmMemory } from "../kernels/webassembly.js";
import type { ProgramWriter } from "../plan/program.js";
import { Control, DONE_COUNT } from "./control.js";
import { damageOf } from "./damage.js";
import { LaneLostError } from "./lane-lost-error.js";
import type { LaneProgress, LaneRunner } from "./lane-runner.js";
import { type Lane, LaneThreads } from "./lane-threads.js";
import { Silence } from "./silence.js";

const FIRST_PROGRAM_NUMBERS = 32_768;

/** How often starting threads is tried, as one that ends meanwhile may make another's start fail. */
const STARTS = 3;

export interface PoolEvents {
  laneLost(lane: number): void;
}

/** The threads of a runtime, driven by the doorbell of control.ts. */
export class WorkerPool {
  readonly lanes: number;
  readonly #control: Control;
  readonly #memories = new Map<number, WasmMemory>();
  readonly #events: PoolEvents;
  readonly #kernels: KernelChoice;
  readonly #patience: number;
  #threads: LaneThreads | undefined;
  #members: (Lane | undefined)[] = [];
  #program = new Float64Array(new SharedArrayBuffer(8 * FIRST_PROGRAM_NUMBERS));
  #starting: Promise<void> | undefined;
  #closed = false;
  /** Wakes the waiting step when a lane is lost. */
  #onLoss: ((lane: number) => void) | undefined;
  /** Memories and programs that some lane has not confirmed yet. */
  #attaching: Promise<unknown> | undefined;
  /** Keeps the process alive while a step runs: a pending Atomics.waitAsync does not. */
  readonly #alive = setInterval(() => {}, 0x7fffffff).unref();
  #holders = 0;
  /** A program is being run, or about to be: its memory and the doorbell are taken. */
  #busy = false;
  /** The generation that the lanes run without the caller. */
  #running: number | undefined;
  /** Settles when the threads that were given up have ended, which may write for a moment still. */
  #leaving: Promise<void> | undefined;
  /** What ended a thread since the last bell. */
  #cause: unknown;

  /** @param patience - milliseconds after which a synchronous step gives a silent lane up */
  constructor(lanes: number, kernels: KernelChoice, patience: number, events: PoolEvents) {
    this.lanes = lanes;
    this.#patience = patience;
    this.#kernels = kernels;
    this.#control = Control.create(lanes);
    this.#events = events;
  }

  get leaving(): Promise<void> | undefined {
    return this.#leaving;
  }

  /** Whether a step can be handed over now, without waiting for threads or attachments. */
  get isReady(): boolean {
    return (
      this.#members.length === this.lanes &&
      this.#attaching === undefined &&
      this.#members.every((lane) => lane !== undefined && !lane.lost)
    );
  }

  attachMemory(id: number, memory: WasmMemory): void {
    this.#memories.set(id, memory);
    this.#attach((lane) => lane.remote.attachMemory(id, memory));
  }

  /** @throws LaneLostError while threads that were given up have not ended */
  refuseWhileLeaving(): void {
    if (this.#leaving === undefined) return;
    const ended = this.#leaving;
    const lane = this.#members.findIndex((member) => member?.lost && !member.ended);
    const message = `The thread of lane ${lane}, which was given up, has not ended yet: nothing was done.`;
    throw new LaneLostError(lane, [], { ended, message });
  }

  /**
   * Starts missing threads and waits for all attachments. Ends without them once the pool is closed.
   * @throws LaneLostError when a thread does not start
   */
  async start(): Promise<void> {
    let failures = 0;
    while (!this.isReady && !this.#closed) {
      this.#starting ??= this.#startMissing().finally(() => {
        this.#starting = undefined;
      });
      try {
        await this.#held(async () => {
          await this.#starting;
          while (this.#attaching !== undefined) await this.#attaching;
        });
      } catch (error) {
        failures++;
        if (failures === STARTS && !this.#closed) throw error;
      }
    }
  }

  async #held<T>(work: () => Promise<T>): Promise<T> {
    if (this.#holders++ === 0) this.#alive.ref();
    try {
      return await work();
    } finally {
      if (--this.#holders === 0) this.#alive.unref();
    }
  }

  async #startMissing(): Promise<void> {
    const missing: number[] = [];
    for (let lane = 0; lane < this.lanes; lane++) {
      const member = this.#members[lane];
      if (member === undefined || member.lost) missing.push(lane);
    }
    // The words of a lane belong to one thread at a time.
    await this.#leaving;
    if (this.#closed) return;
    this.#threads ??= new LaneThreads(this.lanes, (error) => {
      this.#cause = error;
    });
    const program = this.#program;
    const starts = await Promise.allSettled(missing.map((lane) => this.#startLane(lane)));
    // Those that did start are lanes by now, also when others did not.
    const started = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
    starts.forEach((start, i) => {
      if (start.status === "fulfilled") this.#members[missing[i]!] = start.value;
    });
    const attach = (call: (lane: Lane) => Promise<unknown>) =>
      this.#attach((lane) => (started.includes(lane) ? call(lane) : undefined));
    for (const [id, memory] of this.#memories) attach((lane) => lane.remote.attachMemory(id, memory));
    // A step that waits for the threads may have taken a larger one since.
    if (this.#program !== program) attach((lane) => lane.remote.attachProgram(this.#programBuffer));
    const failed = starts.find((start) => start.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  async #startLane(index: number): Promise<Lane> {
    this.#control.replace(index);
    const lane = await this.#threads!.start({
      lane: index,
      lanes: this.lanes,
      control: this.#control.buffer,
      program: this.#programBuffer,
      module: kernelModule(),
      kernels: this.#kernels,
      generation: this.#control.generation(),
    });
    lane.worker.once("exit", () => this.#lose(index));
    return lane;
  }

  #lose(index: number): void {
    if (this.#closed) return;
    this.#events.laneLost(index);
    this.#onLoss?.(index);
  }

  get #programBuffer(): SharedArrayBuffer {
    return this.#program.buffer as SharedArrayBuffer;
  }

  #attach(call: (lane: Lane) => Promise<unknown> | undefined): void {
    const lanes = this.#members.filter((lane): lane is Lane => lane !== undefined && !lane.lost);
    if (lanes.length === 0) return;
    const calls = lanes.map((lane) => {
      // A lost lane never answers; its replacement is attached anew.
      return Promise.race([call(lane), lane.gone]);
    });
    const before = this.#attaching;
    const attaching: Promise<unknown> = Promise.all([before, ...calls]).then(() => {
      if (this.#attaching === attaching) this.#attaching = undefined;
    });
    this.#attaching = attaching;
  }

  /** Encodes a program into shared memory; lanes are told first when it needs a larger buffer. */
  #publish(writer: ProgramWriter): void {
    if (writer.length > this.#program.length) {
      this.#program = new Float64Array(new SharedArrayBuffer(8 * 2 * writer.length));
      this.#attach((lane) => lane.remote.attachProgram(this.#programBuffer));
    }
    writer.encode(this.#program);
  }

  /** Runs a program on the lanes without blocking the calling thread. Returns the encoded program. */
  run(writer: ProgramWriter): Promise<Float64Array> {
    this.#busy = true;
    return this.#held(async () => {
      this.#publish(writer);
      if (!this.isReady) await this.start();
      if (!this.isReady)
        throw new LaneLostError(0, [], { message: "The threads were ended before the step." });
      const program = this.#program;
      this.#cause = undefined;
      const generation = this.#control.ring(this.lanes, false);
      this.#running = generation;
      await this.#finished(generation, program);
      return program;
    }).finally(() => {
      this.#busy = false;
      this.#running = undefined;
    });
  }

  async #finished(generation: number, program: Float64Array): Promise<void> {
    let lost = -1;
    this.#onLoss = (lane) => {
      lost = lane;
      this.#control.giveUp();
    };
    // A lane can have been lost between the last check and the bell.
    this.#members.forEach((lane, index) => {
      if (lane?.lost) this.#onLoss?.(index);
    });
    try {
      for (;;) {
        const count = Atomics.load(this.#control.words, DONE_COUNT);
        if (this.#areDone(generation, 0, (lane) => this.#members[lane]?.lost === true)) break;
        const waiting = Atomics.waitAsync(this.#control.words, DONE_COUNT, count);
        if (waiting.async) await waiting.value;
      }
    } finally {
      this.#onLoss = undefined;
    }
    if (lost >= 0) throw new LaneLostError(lost, damageOf(program, this.#progress()), { cause: this.#cause });
  }

  /** Runs a program with the caller as lane 0. The pool must be ready. Blocks the calling thread. */
  runSync(writer: ProgramWriter, runner: LaneRunner): Float64Array {
    const program = this.#program;
    const control = this.#control;
    writer.encode(program);
    const generation = control.ring(this.lanes, true);
    const silence = new Silence(this.#patience);
    const progress: LaneProgress = {
      started: (index) => {
        // Whatever becomes of the thread of lane 0: it is not it that computes now.
        control.started(0, index);
        return true;
      },
      completed: (index) => control.completed(0, index),
      barrier: (phase) =>
        control.barrier(phase, this.lanes, () => silence.isTooLong(control.progress(this.lanes))),
    };
    let isWhole = false;
    let cause: unknown;
    try {
      isWhole = runner.run(program, 0, progress);
    } catch (error) {
      cause = error;
      control.giveUp();
    }
    // Once the step was given up, the others leave at their next barrier.
    const ended = this.#waitFor(generation, 1, isWhole ? this.#patience : this.#patience / 10);
    if (isWhole && ended && !control.isGivenUp && this.#areDone(generation, 1)) return program;
    control.giveUp();
    const { first, ended: gone } = this.#endSilent(generation);
    const damage = damageOf(program, this.#progress());
    throw new LaneLostError(first, damage, { cause, ...(gone !== undefined && { ended: gone }) });
  }

  /** Blocks the calling thread until no lane runs. False when a lane makes no progress. */
  settle(): boolean {
    return this.#running === undefined || this.#waitFor(this.#running, 0, this.#patience);
  }

  /** Blocks until the lanes from `first` on are done or lost; false when there is no progress. */
  #waitFor(generation: number, first: number, patience: number): boolean {
    const silence = new Silence(patience);
    const control = this.#control;
    // This thread hears of an end only in its event loop, but for what the thread itself says.
    const isGone = (lane: number) => this.#members[lane]?.lost === true || control.isLost(lane);
    while (!this.#areDone(generation, first, isGone)) {
      if (silence.isTooLong(control.progress(this.lanes))) return false;
      const count = Atomics.load(control.words, DONE_COUNT);
      if (!this.#areDone(generation, first, isGone)) Atomics.wait(control.words, DONE_COUNT, count, 50);
    }
    return true;
  }

  /** Ends the lanes that have not finished, which are then replaced: the first of them, and when all have ended. */
  #endSilent(generation: number): { first: number; ended?: Promise<unknown> } {
    const silent = this.#members.flatMap((lane, index) =>
      index > 0 && lane !== undefined && !this.#control.isDone(index, generation) ? [{ lane, index }] : [],
    );
    if (silent.length === 0) return { first: 0 };
    for (const { lane, index } of silent) {
      this.#control.lose(index);
      lane.lost = true;
      void lane.worker.terminate();
    }
    const ended = Promise.all(silent.map(({ lane }) => lane.gone)).then(() => {
      this.#leaving = undefined;
    });
    this.#leaving = ended;
    return { first: silent[0]!.index, ended };
  }

  /** Whether a program can be run by runSync at once. */
  canRunSync(writer: ProgramWriter): boolean {
    if (this.#busy || !this.isReady || writer.length > this.#program.length) return false;
    return !this.#members.some((_, lane) => this.#control.isLost(lane));
  }

  #areDone(generation: number, first: number, isExcused: (lane: number) => boolean = () => false): boolean {
    for (let lane = first; lane < this.lanes; lane++) {
      if (!this.#control.isDone(lane, generation) && !isExcused(lane)) return false;
    }
    return true;
  }

  #progress(): { started: number; completed: number }[] {
    return Array.from({ length: this.lanes }, (_, lane) => this.#control.progressOf(lane));
  }

  /** Ends one thread, as a crash would. For tests of recovery. */
  async terminateLane(lane: number): Promise<void> {
    await this.#members[lane]?.worker.terminate();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#alive);
    this.#control.shutDown();
    for (const lane of this.#members) lane?.port.close();
    await this.#threads?.destroy();
  }
}
