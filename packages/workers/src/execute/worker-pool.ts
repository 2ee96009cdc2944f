import { MessageChannel, type MessagePort, type Worker } from "node:worker_threads";
import { type Remote, wrap } from "comlink";
import { Piscina } from "piscina";
import { kernelModule } from "../kernels/instance.js";
import type { KernelChoice } from "../kernels/native.js";
import type { WasmMemory } from "../kernels/webassembly.js";
import type { ProgramWriter } from "../plan/program.js";
import { Control, DONE_COUNT } from "./control.js";
import { damageOf } from "./damage.js";
import { LaneLostError } from "./lane-lost-error.js";
import type { LaneProgress, LaneRunner } from "./lane-runner.js";
import type { LaneAssignment, LaneControl } from "./lane-worker.js";

const FIRST_PROGRAM_NUMBERS = 32_768;

interface Lane {
  readonly worker: Worker;
  readonly port: MessagePort;
  /** One long-lived proxy a lane, held here so that it is never collected with calls in flight. */
  readonly remote: Remote<LaneControl>;
  /** Resolves when the thread has ended. */
  readonly gone: Promise<void>;
  lost: boolean;
}

export interface PoolEvents {
  laneLost(lane: number): void;
}

/** The threads of a runtime: piscina makes and replaces them, the doorbell of control.ts drives them. */
export class WorkerPool {
  readonly lanes: number;
  readonly #control: Control;
  readonly #memories = new Map<number, WasmMemory>();
  readonly #events: PoolEvents;
  readonly #kernels: KernelChoice;
  readonly #patience: number;
  #piscina: Piscina | undefined;
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

  /** Starts missing threads and waits for all attachments. */
  async start(): Promise<void> {
    while (!this.isReady && !this.#closed) {
      this.#starting ??= this.#startMissing().finally(() => {
        this.#starting = undefined;
      });
      await this.#held(async () => {
        await this.#starting;
        while (this.#attaching !== undefined) await this.#attaching;
      });
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
    this.#piscina ??= this.#createPiscina();
    const missing: number[] = [];
    for (let lane = 0; lane < this.lanes; lane++) {
      const member = this.#members[lane];
      if (member === undefined || member.lost) missing.push(lane);
    }
    const started = await Promise.all(missing.map((lane) => this.#startLane(lane)));
    started.forEach((lane, i) => {
      this.#members[missing[i]!] = lane;
    });
    for (const [id, memory] of this.#memories) {
      this.#attach((lane) => (started.includes(lane) ? lane.remote.attachMemory(id, memory) : undefined));
    }
  }

  #createPiscina(): Piscina {
    const assigned = new Set<number>();
    const piscina = new Piscina({
      filename: new URL("./lane-worker.js", import.meta.url).href,
      minThreads: this.lanes,
      maxThreads: this.lanes,
      concurrentTasksPerWorker: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      // Lanes wait on their own doorbell; piscina's blocking wait would starve their event loop.
      atomics: "disabled",
      recordTiming: false,
      // A loader of the host application would only slow the lanes down: they run plain JavaScript.
      execArgv: [],
      // Placement: each thread is given exactly one lane, for life.
      loadBalancer: (_task, workers) => {
        const free = workers.find((worker) => !assigned.has(worker.id));
        if (free === undefined) return null;
        assigned.add(free.id);
        return free;
      },
    });
    // A thread that ends by an error is lost like any other: its `exit`, which follows, says so. This is the cause.
    piscina.on("error", (error) => {
      this.#cause = error;
    });
    return piscina;
  }

  async #startLane(index: number): Promise<Lane> {
    const piscina = this.#piscina!;
    const { port1, port2 } = new MessageChannel();
    const assignment: LaneAssignment = {
      lane: index,
      lanes: this.lanes,
      port: port2,
      control: this.#control.buffer,
      program: this.#program.buffer as SharedArrayBuffer,
      module: kernelModule(),
      kernels: this.#kernels,
      generation: this.#control.generation(),
    };
    const threadId = (await piscina.run(assignment, { transferList: [port2] })) as number;
    const worker = piscina.threads.find((thread) => thread.threadId === threadId);
    if (worker === undefined) throw new LaneLostError(index, []);
    const remote = wrap<LaneControl>(port1 as unknown as Parameters<typeof wrap>[0]);
    port1.unref();
    const gone = new Promise<void>((resolve) => {
      worker.once("exit", () => resolve());
    });
    const lane: Lane = { worker, port: port1, remote, gone, lost: false };
    worker.once("exit", () => this.#lose(index, lane));
    return lane;
  }

  #lose(index: number, lane: Lane): void {
    lane.lost = true;
    lane.port.close();
    if (this.#closed) return;
    this.#events.laneLost(index);
    this.#onLoss?.(index);
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
      const buffer = this.#program.buffer as SharedArrayBuffer;
      this.#attach((lane) => lane.remote.attachProgram(buffer));
    }
    writer.encode(this.#program);
  }

  /** Runs a program on the lanes without blocking the calling thread. Returns the encoded program. */
  run(writer: ProgramWriter): Promise<Float64Array> {
    this.#busy = true;
    return this.#held(async () => {
      this.#publish(writer);
      if (!this.isReady) await this.start();
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
        if (this.#allDone(generation, 0)) break;
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
    writer.encode(program);
    const generation = this.#control.ring(this.lanes, true);
    const progress: LaneProgress = {
      started: (index) => this.#control.started(0, index),
      completed: (index) => this.#control.completed(0, index),
      barrier: (phase) => this.#control.barrier(phase, this.lanes),
    };
    runner.run(program, 0, progress);
    if (!this.#waitFor(generation, 1)) {
      this.#control.giveUp();
      const silent = this.#endSilent(generation);
      throw new LaneLostError(silent.first, damageOf(program, this.#progress()), { ended: silent.ended });
    }
    return program;
  }

  /** Blocks the calling thread until no lane runs. False when a lane makes no progress. */
  settle(): boolean {
    return this.#running === undefined || this.#waitFor(this.#running, 0);
  }

  /** Blocks until the lanes from `first` on are done or lost; false when there is no progress. */
  #waitFor(generation: number, first: number): boolean {
    let idleSince = performance.now();
    let before = -1;
    while (!this.#allDone(generation, first)) {
      const now = this.#progress().reduce((sum, lane) => sum + lane.completed, 0);
      if (now !== before) idleSince = performance.now();
      before = now;
      if (performance.now() - idleSince > this.#patience) return false;
      const count = Atomics.load(this.#control.words, DONE_COUNT);
      if (!this.#allDone(generation, first)) Atomics.wait(this.#control.words, DONE_COUNT, count, 50);
    }
    return true;
  }

  /** Ends the lanes that have not finished, which are then replaced: the first of them, and when all have ended. */
  #endSilent(generation: number): { first: number; ended: Promise<unknown> } {
    const silent = this.#members.flatMap((lane, index) =>
      index > 0 && lane !== undefined && !this.#control.isDone(index, generation) ? [{ lane, index }] : [],
    );
    for (const { lane } of silent) {
      lane.lost = true;
      void lane.worker.terminate();
    }
    return { first: silent[0]?.index ?? 0, ended: Promise.all(silent.map(({ lane }) => lane.gone)) };
  }

  /** Whether a program can be run by runSync at once. */
  canRunSync(writer: ProgramWriter): boolean {
    return !this.#busy && this.isReady && writer.length <= this.#program.length;
  }

  #allDone(generation: number, firstLane: number): boolean {
    for (let lane = firstLane; lane < this.lanes; lane++) {
      if (!this.#control.isDone(lane, generation) && !this.#members[lane]?.lost) return false;
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
    await this.#piscina?.destroy();
  }
}
