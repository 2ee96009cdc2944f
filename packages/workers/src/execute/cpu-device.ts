import type { DType } from "../dtype.js";
import { MemoryExhaustedError } from "../errors.js";
import { kernelModule } from "../kernels/instance.js";
import { type KernelChoice, type NativeKernels, nativeFor } from "../kernels/native.js";
import { kernelFor } from "../kernels/table.js";
import type { Arena } from "../memory/arena.js";
import type { MemoryPool } from "../memory/memory-pool.js";
import { TemporaryBlocks } from "../memory/temporary-blocks.js";
import type { StepOutcome, StepPlan, UpdatePlan } from "../plan/contract.js";
import { lower } from "../plan/lower.js";
import type { Scratch } from "../plan/lowering.js";
import { groupCount, ProgramWriter } from "../plan/program.js";
import { LaneLostError } from "./lane-lost-error.js";
import { alone, LaneRunner } from "./lane-runner.js";
import { type PoolEvents, WorkerPool } from "./worker-pool.js";

/** The options of {@link CpuDevice}. */
export interface CpuDeviceOptions {
  /** Lanes; 0 runs everything on the calling thread. */
  readonly threads: number;
  /** Steps over fewer elements run on the calling thread. */
  readonly inlineThreshold: number | undefined;
  readonly kernels: KernelChoice;
  /**
   * Milliseconds without progress after which a synchronous step gives a lane up, as its thread cannot report its end
   * while the calling thread is blocked. Default one minute.
   */
  readonly patience?: number;
}

/**
 * Where two threads overtake the calling thread, hand-over included (measured on data in the caches, 2 threads: at
 * 900,000 and 220,000 elements; sooner where memory is the bound). It is about 100 µs of the calling thread.
 */
const INLINE_THRESHOLD = { native: 500_000, wasm: 200_000 };

/** Runs step plans on this machine's cores: small steps inline, large ones on the pool. */
export class CpuDevice {
  readonly #inlineThreshold: number;
  readonly #memory: MemoryPool;
  readonly #native: NativeKernels | undefined;
  readonly #runner: LaneRunner;
  readonly #pool: WorkerPool | undefined;
  /** The plan that the pool is given. */
  #running: StepPlan | undefined;
  /** The variables that it writes, once somebody has asked. */
  #written: Set<number> | undefined;

  constructor(options: CpuDeviceOptions, memory: MemoryPool, events: PoolEvents) {
    this.#memory = memory;
    this.#native = nativeFor(options.kernels);
    this.#inlineThreshold =
      options.inlineThreshold ?? INLINE_THRESHOLD[this.#native === undefined ? "wasm" : "native"];
    this.#runner = new LaneRunner(kernelModule(), this.#native);
    const { threads, kernels, patience = 60_000 } = options;
    this.#pool = threads > 0 ? new WorkerPool(threads, kernels, patience, events) : undefined;
  }

  /** The instructions that large steps run on: `simd128` is WebAssembly's. */
  get instructions(): string {
    return this.#native?.set.instructions ?? "simd128";
  }

  /** Whether the row kernels of a dtype reach every memory, rather than one each. */
  reachesAll(dtype: DType): boolean {
    return (this.#native?.numbers[kernelFor("adagradRows", dtype).id] ?? -1) >= 0;
  }

  /** Every memory of the pool must be attached before a plan names it. */
  attach(arena: Arena): void {
    this.#native?.library.adviseHugePages(
      this.#native.library.addressOf(new Uint8Array(arena.memory.buffer)),
      arena.maxByteLength,
    );
    this.#runner.attachMemory(arena.id, arena.memory);
    this.#pool?.attachMemory(arena.id, arena.memory);
  }

  /** Starts the threads now instead of on first need. */
  async ready(): Promise<void> {
    await this.#pool?.start();
  }

  runsInline(plan: StepPlan): boolean {
    return this.#pool === undefined || plan.elements < this.#inlineThreshold;
  }

  async run(plan: StepPlan): Promise<StepOutcome> {
    const leaving = this.#pool?.leaving;
    if (leaving !== undefined) await leaving;
    if (this.runsInline(plan)) return this.#runInline(plan);
    const pool = this.#pool!;
    const scratch = new StepScratch(this.#memory, this.#runner);
    this.#running = plan;
    try {
      const program = await pool.run(lower(plan, pool.lanes, scratch, this.#writer));
      return this.#outcome("workers", plan, program);
    } finally {
      this.#running = undefined;
      this.#written = undefined;
      scratch.release();
    }
  }

  /** Whether threads run a step that has not ended. */
  get isBusy(): boolean {
    return this.#running !== undefined;
  }

  /** Whether threads are writing an array for a step that has not ended. */
  isWriting(memory: number, offset: number): boolean {
    if (this.#running === undefined) return false;
    this.#written ??= new Set(this.#running.updates.flatMap(variablesOf));
    return this.#written.has(keyOf(memory, offset));
  }

  /**
   * Blocks the calling thread, which computes a share itself. Runs inline while the threads are not up.
   * @throws LaneLostError; without damage while a thread that was given up may write still
   */
  runSync(plan: StepPlan): StepOutcome {
    const pool = this.#pool;
    pool?.refuseWhileLeaving();
    if (this.runsInline(plan) || pool === undefined || pool.lanes === 1) return this.#runInline(plan);
    const scratch = new StepScratch(this.#memory, this.#runner);
    let ended: Promise<unknown> | undefined;
    try {
      const writer = lower(plan, pool.lanes, scratch, this.#writer);
      if (!pool.canRunSync(writer)) return this.#runInline(plan);
      return this.#outcome("workers", plan, pool.runSync(writer, this.#runner));
    } catch (error) {
      if (error instanceof LaneLostError) ended = error.ended;
      throw error;
    } finally {
      // A lane that was given up may write there for a moment still.
      if (ended === undefined) scratch.release();
      else void ended.then(() => scratch.release());
    }
  }

  /**
   * Blocks the calling thread until no lane runs any more, without ending the step, which its own call does later.
   * False when a lane makes no progress.
   */
  settle(): boolean {
    return this.#pool?.settle() ?? true;
  }

  /** Position of the first u32 index at or above `rows`, or -1. */
  checkIndices(arena: Arena, indices: number, count: number, rows: number): number {
    return this.#runner.instance(arena.id).checkIndices(indices, count, rows);
  }

  terminateLane(lane: number): Promise<void> {
    return this.#pool?.terminateLane(lane) ?? Promise.resolve();
  }

  async close(): Promise<void> {
    await this.#pool?.close();
  }

  #runInline(plan: StepPlan): StepOutcome {
    const scratch = new StepScratch(this.#memory, this.#runner);
    try {
      const writer = lower(plan, 1, scratch, this.#writer);
      const program = writer.encode(this.#inlineProgram(writer.length));
      this.#runner.run(program, 0, alone);
      return this.#outcome("inline", plan, program);
    } finally {
      scratch.release();
    }
  }

  #inline = new Float64Array(256);
  /** Every program is encoded in the turn in which it is written. */
  readonly #writer = new ProgramWriter();

  #inlineProgram(length: number): Float64Array {
    if (this.#inline.length < length) this.#inline = new Float64Array(2 * length);
    return this.#inline;
  }

  #outcome(device: StepOutcome["device"], plan: StepPlan, program: Float64Array): StepOutcome {
    if (plan.clip.kind !== "globalNorm" || groupCount(program) === 0) return { device };
    return { device, globalNorm: this.#runner.clipScalars(program, 0).norm };
  }
}

function variablesOf({ operation, segments }: UpdatePlan): number[] {
  if (operation === "norm" || operation === "clip") return [];
  return segments.map(({ memory, variable }) => keyOf(memory, variable));
}

/** Offsets are below 2^32. */
function keyOf(memory: number, offset: number): number {
  return memory * 2 ** 32 + offset;
}

/** Temporary blocks of one step, given back together when it ends. */
class StepScratch implements Scratch {
  readonly #blocks = new TemporaryBlocks();
  readonly #releases: (() => void)[] = [];

  constructor(
    readonly memory: MemoryPool,
    readonly runner: LaneRunner,
  ) {}

  take(memory: number, bytes: number): number {
    const offset = this.#blocks.take(this.memory.arenas[memory]!, bytes);
    if (offset < 0) throw new MemoryExhaustedError(bytes);
    return offset;
  }

  takeNear(memory: number, bytes: number): number {
    const there = this.#blocks.take(this.memory.arenas[memory]!, bytes);
    if (there >= 0) return there;
    const { block, release } = this.memory.lend(bytes);
    this.#releases.push(release);
    return block.offset + this.distance(memory, block.arena.id);
  }

  rowsBytes(sliceCount: number): number {
    return this.runner.instance(0).rowsScratchBytes(sliceCount);
  }

  distance(from: number, to: number): number {
    return this.runner.addressOf(to) - this.runner.addressOf(from);
  }

  release(): void {
    this.#blocks.release();
    for (const release of this.#releases) release();
    this.#releases.length = 0;
  }
}
