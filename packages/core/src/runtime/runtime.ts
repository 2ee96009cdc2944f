import { availableParallelism } from "node:os";
import { CpuDevice, type DType, dtypeInfo, MemoryPool, type TypedArray } from "@shardgrad/workers";
import { ArgumentError, ClosedRuntimeError, OptionError } from "../errors/index.js";
import { SafeEmitter } from "../events/emitter.js";
import { printedAs } from "../inspect.js";
import type { PlacedDevice } from "../placement/placed-device.js";
import { type VariableInternals, variableInternals } from "../variable/internals.js";
import { checkDtype, checkShape, sizeOf } from "../variable/values.js";
import { EventLoopShare } from "./event-loop-share.js";
import type { RuntimeEvents } from "./events.js";
import { type RuntimeInternals, runtimeInternals } from "./internals.js";
import { checkCloseOptions, checkRuntimeOptions, type RuntimeOptions } from "./options.js";
import { type Placement, placedDevice, placementOf } from "./placement.js";
import { StepQueue } from "./step-queue.js";

/** How long `Runtime.close` waits. Without either: until every step of the queue has ended. */
export interface CloseOptions {
  /** Milliseconds to wait for the queue; steps that have not started by then are rejected. */
  readonly timeout?: number | undefined;
  /** Aborting has the same effect as the timeout. */
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_MAX_QUEUE = 1_024;
let shared: Runtime | undefined;

/**
 * Shared memory and threads for variables and optimizers. Threads start on first need and never keep the
 * process alive by themselves.
 *
 * @example
 * import { Adagrad, Runtime, Variable } from "@shardgrad/core";
 * const runtime = new Runtime({ threads: 2, inlineThreshold: 1000 });
 * await runtime.ready();
 * const table = Variable.normal([1000, 16], { stddev: 0.1, seed: 1, runtime });
 * await new Adagrad({ runtime }).applyGradients([[{ indices: [3], values: [Array(16).fill(0.5)] }, table]]);
 * await runtime.close(); // or `await using runtime`, where the language has it
 */
export class Runtime extends SafeEmitter<RuntimeEvents> {
  static {
    printedAs(Runtime.prototype, ({ threads, instructions, memoryBytes, pending, closed }) => ({
      ...{ threads, instructions, memoryBytes, pending, closed },
    }));
  }

  /** Worker threads; 0 when everything runs on the calling thread. */
  readonly threads: number;
  /** @internal */
  readonly [runtimeInternals]: RuntimeInternals;
  readonly #memory: MemoryPool;
  readonly #device: CpuDevice;
  readonly #placed: PlacedDevice | undefined;
  readonly #queue: StepQueue;
  readonly #allocated = new WeakMap<TypedArray, () => void>();
  #closing: Promise<void> | undefined;

  /** @throws OptionError for an unknown or bad option. */
  constructor(options: RuntimeOptions = {}) {
    super(["drain", "workerLost", "deviceLost", "deviceChanged", "error"]);
    checkRuntimeOptions(options);
    this.threads = options.threads ?? availableParallelism();
    this.#memory = new MemoryPool(options.arenaBytes, (arena) => this.#device.attach(arena));
    this.#device = new CpuDevice(
      {
        threads: this.threads,
        inlineThreshold: options.inlineThreshold,
        kernels: options.kernels ?? "auto",
      },
      this.#memory,
      { laneLost: (lane) => this.emit("workerLost", { lane, runtime: this }) },
    );
    this.#placed = placedDevice(options, this.#device, this.#memory, {
      lost: (device, reason) => this.emit("deviceLost", { device, reason, runtime: this }),
      changed: (change) => {
        const isHeard = this.wants("deviceChanged");
        this.emit("deviceChanged", { ...change, runtime: this });
        return isHeard;
      },
    });
    this.#queue = new StepQueue(options.maxQueue ?? DEFAULT_MAX_QUEUE, () => {
      if (this.wants("drain")) this.emit("drain", { runtime: this });
    });
    this[runtimeInternals] = {
      memory: this.#memory,
      device: this.#placed ?? this.#device,
      placed: this.#placed,
      queue: this.#queue,
      share: new EventLoopShare(),
    };
  }

  /** The runtime that variables and optimizers use when none is given; made on first use. */
  static default(): Runtime {
    if (shared === undefined || shared.closed) shared = new Runtime();
    return shared;
  }

  /** Steps that wait or run: the measure of back-pressure. */
  get pending(): number {
    return this.#queue.pending;
  }

  /** The instructions that large steps use: `avx512`, `avx2`, `baseline` (native kernels) or `simd128` (WebAssembly). */
  get instructions(): string {
    return this.#device.instructions;
  }

  /** Whether `close` was called. */
  get closed(): boolean {
    return this.#queue.closed;
  }

  /** Bytes of shared memory held, space that is free again included. */
  get memoryBytes(): number {
    return this.#memory.byteLength;
  }

  /**
   * A zeroed array in shared memory. A gradient that lies in the same memory as its variable is not copied
   * when a step uses it; its `buffer` can be posted to other threads, which may fill it.
   *
   * @param lengthOrShape - number of elements, or a shape whose product it is
   * @param dtype - float32 by default; float16 gives a Uint16Array of bit patterns
   * @param options.near - the variable that it will be a gradient of; matters once a runtime holds more than
   *   about 870 MiB of variables, which then lie in several memories
   * @throws ShapeError, DtypeError, OptionError, ClosedRuntimeError, MemoryExhaustedError
   * @example
   * import { Adagrad, Runtime, Variable } from "@shardgrad/core";
   * const weights = Variable.zeros([1000]);
   * const gradient = Runtime.default().allocate(weights.shape, weights.dtype, { near: weights });
   * gradient.fill(1); // here, or in another thread
   * await new Adagrad().applyGradients([[gradient, weights]]); // not copied
   * Runtime.default().release(gradient);
   */
  allocate(
    lengthOrShape: number | readonly number[],
    dtype: DType = "float32",
    options: { readonly near?: { readonly size: number } } = {},
  ): TypedArray {
    this.#refuseWhenClosed();
    const shape = typeof lengthOrShape === "number" ? [lengthOrShape] : lengthOrShape;
    checkShape(shape, "lengthOrShape");
    checkDtype(dtype);
    const bytes = sizeOf(shape) * dtypeInfo[dtype].bytes;
    const home = options.near === undefined ? undefined : this.#homeOf(options.near);
    const { block, release } = this.#memory.lend(bytes, home);
    const view = this.#memory.view(block, dtype, sizeOf(shape));
    block.arena.lent.add(block.offset, bytes);
    this.#allocated.set(view, () => {
      block.arena.lent.remove(block.offset);
      release();
    });
    return view;
  }

  /**
   * Gives back an array from `allocate`. The array must not be used afterwards.
   * @throws ArgumentError if it did not come from `allocate` or was given back before
   */
  release(array: TypedArray): void {
    const free = this.#allocated.get(array);
    if (free === undefined) {
      const expected = "an array that `allocate` of this runtime returned and that was not released yet";
      throw new ArgumentError({ argument: "array", received: array, expected });
    }
    this.#allocated.delete(array);
    free();
  }

  /**
   * Starts the threads, and opens a device that was asked for by name, now rather than on first need. Synchronous steps
   * use threads only once they are up.
   * @throws ClosedRuntimeError, also when the runtime is closed meanwhile; an error with the code
   *   ERR_SHARDGRAD_LANE_LOST when a thread does not start
   */
  async ready(): Promise<void> {
    this.#refuseWhenClosed();
    // A synchronous loop gives the event loop no turn in which threads could learn of a memory made later.
    this.#memory.ensureArena();
    await Promise.all([this.#device.ready(), this.#placed?.ready()]);
    this.#refuseWhenClosed();
  }

  /**
   * Brings the current values of all variables and slots that live on a device to the host, so that `data`, `segments`,
   * `assign` and `toArray` can be used until the next step. Nothing without a device.
   *
   * @example
   * import { Adagrad, Runtime, Variable } from "@shardgrad/core";
   * const runtime = new Runtime({ device: "auto" });
   * const weights = Variable.zeros([4], { runtime });
   * await new Adagrad({ runtime }).applyGradients([[[1, 2, 3, 4], weights]]);
   * await runtime.synchronize();
   * console.log(weights.data.length); // 4
   */
  async synchronize(): Promise<void> {
    await this.#placed?.synchronize();
  }

  /**
   * Which variables live where, and why. See docs/gpu.md.
   *
   * @example
   * import { Runtime } from "@shardgrad/core";
   * const { device, variables } = new Runtime({ device: "cpu" }).placement();
   * console.log(device, variables); // null []
   */
  placement(): Placement {
    return placementOf(this.#placed);
  }

  /**
   * Ends the runtime: takes no new steps, waits for those in the queue, stops the threads. Variables stay
   * readable. A second call returns the first one's promise.
   * @throws (rejects) OptionError, without closing
   *
   * @example
   * import { Runtime } from "@shardgrad/core";
   * const runtime = new Runtime({ threads: 1 });
   * process.once("SIGTERM", () => runtime.close({ timeout: 5000 })); // waiting steps have 5 s to start
   */
  close(options: CloseOptions = {}): Promise<void> {
    try {
      checkCloseOptions(options);
    } catch (error) {
      return Promise.reject(error);
    }
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  /** `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Ends one thread as a crash would, so that an application can test what it does about a WorkerLostError.
   */
  debugTerminateLane(lane: number): Promise<void> {
    return this.#device.terminateLane(lane);
  }

  async #close({ timeout = Number.POSITIVE_INFINITY, signal }: CloseOptions): Promise<void> {
    this.#queue.close();
    const giveUp = () => this.#queue.refuseWaiting(new ClosedRuntimeError("The runtime was closed."));
    // Timers take what is longer for a millisecond.
    const timer = timeout < 2 ** 31 ? setTimeout(giveUp, timeout) : undefined;
    if (signal?.aborted) giveUp();
    signal?.addEventListener("abort", giveUp, { once: true });
    try {
      await this.#queue.drained();
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", giveUp);
    }
    await this.#placed?.close();
    await this.#device.close();
  }

  #homeOf(near: unknown) {
    const internals = (near as { [variableInternals]?: VariableInternals })[variableInternals];
    if (internals === undefined || internals.storage.segments.length === 0) {
      throw new OptionError({ argument: "near", received: near, expected: "a Variable" });
    }
    // A variable in several memories has no one place for its gradient: it is copied to each.
    const { segments } = internals.storage;
    return segments.length === 1 ? segments[0]!.home : undefined;
  }

  #refuseWhenClosed(): void {
    if (this.closed) throw new ClosedRuntimeError();
  }
}
