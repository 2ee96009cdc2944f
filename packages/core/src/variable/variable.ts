import { type DType, dtypeInfo, ownerShift, type TypedArray, viewOf } from "@shardgrad/workers";
import {
  ArgumentError,
  ClosedRuntimeError,
  OptionError,
  SplitVariableError,
  StateError,
} from "../errors/index.js";
import type { RowIndices } from "../gradients/indexed-slices.js";
import { runtimeInternals } from "../runtime/internals.js";
import { Runtime } from "../runtime/runtime.js";
import { AttachedVariable, type AttachOptions } from "./attached.js";
import { describe } from "./describe.js";
import { follow, SlotRows, storageBeside } from "./followers.js";
import { checkGather, gatherInQueue, type Readable, readAll } from "./gather.js";
import { makeHandle, readableOf, type VariableHandle } from "./handle.js";
import { VariableHeader } from "./header.js";
import {
  type Initializer,
  initialValues,
  type NormalOptions,
  normal,
  type PendingFill,
  type UniformOptions,
  uniform,
} from "./initializers.js";
import { type VariableInternals, variableInternals } from "./internals.js";
import { catchUpAsync, catchUpSync } from "./lazy-average.js";
import {
  besideOf,
  besideOptions,
  checkNames,
  checkReserve,
  isInitializer,
  laterOf,
  type VariableOptions,
} from "./options.js";
import { disposedError } from "./read-guard.js";
import { type ResizeOptions, resizeAtOnce, resizeInTurn } from "./resize.js";
import type { StoragePlan } from "./resize-plan.js";
import { Storage } from "./storage.js";
import { type NestedArray, rowSizeOf, sizeOf } from "./values.js";
import { writeNow } from "./writes.js";

export type { VariableOptions } from "./options.js";

/** A part of a variable that lies in one memory. */
export interface VariableSegment {
  /** Flat offset of its first element. */
  readonly start: number;
  /** Live view of its elements. */
  readonly data: TypedArray;
}

let created = 0;

/**
 * A trainable array in shared memory, after Keras' tf.Variable.
 *
 * @example
 * import { Variable } from "@shardgrad/core";
 * const weights = new Variable([[1, 2], [3, 4]], { name: "weights" });
 * weights.data[0] = 5; // live: the next step sees it
 * console.log(weights.shape, weights.toArray()); // [ 2, 2 ] [ [ 5, 2 ], [ 3, 4 ] ]
 * weights.assign([[0, 0], [0, 0]]);
 * weights.dispose(); // gives the memory back
 */
export class Variable {
  readonly name: string;
  readonly dtype: DType;
  readonly trainable: boolean;
  #shape: readonly number[];
  #size: number;
  readonly #storage: Storage;
  readonly #internals: VariableInternals;
  #disposed = false;
  #unfollow: () => void = () => {};
  #readable: Readable | undefined;
  #readableSegments: Storage["segments"] | undefined;

  /**
   * @param initialValue - a number, nested arrays, a typed array of the dtype (Uint16Array: float16 bit
   *   patterns), or an initializer: "zeros", "ones", or a function of shape and dtype
   * @throws ShapeError, DtypeError, OptionError, ClosedRuntimeError, MemoryExhaustedError
   */
  constructor(initialValue: NestedArray | TypedArray | Initializer, options: VariableOptions = {}) {
    checkNames(options);
    const { shape, dtype } = describe(initialValue, options);
    const reserve = checkReserve(options.reserveRows, shape);
    this.name = options.name ?? "Variable";
    this.#shape = Object.freeze([...shape]);
    this.dtype = dtype;
    this.#size = sizeOf(shape);
    this.trainable = options.trainable ?? true;
    const fill = initialValues(initialValue, this.shape, dtype);
    const runtime = options.runtime ?? Runtime.default();
    const internals = runtime[runtimeInternals];
    if (internals === undefined) {
      throw new OptionError({ argument: "runtime", received: runtime, expected: "a Runtime" });
    }
    if (runtime.closed) throw new ClosedRuntimeError();
    const model = besideOf(options);
    const rowSize = rowSizeOf(shape);
    const later = laterOf(options);
    this.#storage =
      model === undefined
        ? Storage.create(internals.memory, dtype, this.size, rowSize, reserve * rowSize)
        : storageBeside(model, this.shape, dtype);
    const { segments } = this.#storage;
    const header =
      model === undefined
        ? VariableHeader.create(segments.length, ownerShift(rowSize * dtypeInfo[dtype].bytes), () =>
            internals.device.settle(),
          )
        : VariableHeader.beside(model[variableInternals].header, segments.length);
    header.publish(shape[0] ?? 1, rowSize, segments);
    const initializer = isInitializer(initialValue) ? initialValue : "zeros";
    const publish = (rows: number, plan: StoragePlan) => this.#publish(rows, plan);
    this.#internals = {
      ...{ name: this.name, storage: this.#storage, runtime, rowSize, pin: created++, header, initializer },
      ...{ model: model?.[variableInternals], publish, place: options.device ?? "auto" },
      followers: new Set(),
      lazy: undefined,
    };
    try {
      for (const { view, start } of this.#storage.segments) {
        if (later === undefined) fill(view, start);
        else later.push({ view, start, fill });
      }
    } catch (error) {
      this.#storage.release();
      throw error;
    }
    if (model !== undefined) this.#unfollow = follow(model, new SlotRows(this, initializer));
  }

  /** Lengths of the dimensions. `resizeRows` changes the first. */
  get shape(): readonly number[] {
    return this.#shape;
  }

  /** Number of elements. */
  get size(): number {
    return this.#size;
  }

  /** @internal */
  get [variableInternals](): VariableInternals {
    return this.#internals;
  }

  /** A variable of zeros. @throws as the constructor */
  static zeros(shape: readonly number[], options: Omit<VariableOptions, "shape"> = {}): Variable {
    return new Variable("zeros", { ...options, shape });
  }

  /** A variable of ones. @throws as the constructor */
  static ones(shape: readonly number[], options: Omit<VariableOptions, "shape"> = {}): Variable {
    return new Variable("ones", { ...options, shape });
  }

  /**
   * Uniform random numbers in [min, max), the same for the same seed.
   * @throws OptionError for bounds that are not finite or not in order; as the constructor otherwise
   */
  static uniform(
    shape: readonly number[],
    { min, max, seed, ...options }: UniformOptions & Omit<VariableOptions, "shape"> = {},
  ): Variable {
    return new Variable(uniform({ min, max, seed }), { ...options, shape });
  }

  /**
   * Normal random numbers, the same for the same seed.
   * @throws OptionError for a mean or standard deviation that is not finite; as the constructor otherwise
   */
  static normal(
    shape: readonly number[],
    { mean, stddev, seed, ...options }: NormalOptions & Omit<VariableOptions, "shape"> = {},
  ): Variable {
    return new Variable(normal({ mean, stddev, seed }), { ...options, shape });
  }

  /**
   * Live view of the elements in shared memory; float16 as bit patterns. Its buffer can be posted to threads.
   * It must not be used after `dispose`, and not after a step that ran on a device: ask for it again then.
   * @throws DisposedVariableError, SplitVariableError when the variable lies in several memories, StaleValuesError when
   *   the current values are on a device
   */
  get data(): TypedArray {
    this.#refuseWhenDisposed();
    const { segments } = this.#storage;
    if (segments.length > 1) {
      throw new SplitVariableError(
        `${this.name} lies in ${segments.length} segments, as it is larger than one memory or has grown: use \`segments\`.`,
      );
    }
    return segments[0]!.view;
  }

  /** Live views of all elements in order, one for each memory. @throws DisposedVariableError, StaleValuesError */
  get segments(): readonly VariableSegment[] {
    this.#refuseWhenDisposed();
    return this.#storage.segments.map(({ start, view }) => ({ start, data: view }));
  }

  /** Whether `dispose` was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * Replaces all values.
   * @throws ShapeError, DtypeError for a typed array of another dtype, ArgumentError, DisposedVariableError;
   *   StaleValuesError when the values are on a device (`await runtime.synchronize()` first); StateError with lazy averages while asynchronous steps are pending
   */
  assign(values: NestedArray | TypedArray): void {
    this.#refuseWhenDisposed();
    if (typeof values === "string" || typeof values === "function") {
      throw new ArgumentError({ argument: "values", received: values, expected: "numbers or a typed array" });
    }
    const { shape, dtype } = describe(values, { shape: this.shape, dtype: this.dtype }, "values", true);
    const fill = initialValues(values, shape, dtype, "values");
    this.#catchUp("assign");
    writeNow([this], () => {
      for (const { view, start } of this.#storage.segments) fill(view, start);
    });
  }

  /**
   * A copy of the values as they are after the steps that have ended, wherever the variable lives.
   *
   * @returns a typed array of `size` elements; float16 as bit patterns
   * @throws (rejects) DisposedVariableError
   * @example
   * import { Variable } from "@shardgrad/core";
   * console.log(await new Variable([[1, 2], [3, 4]]).read()); // Float32Array(4) [ 1, 2, 3, 4 ]
   */
  async read(): Promise<TypedArray> {
    this.#refuseWhenDisposed();
    if (this.#internals.lazy?.behind) await this.materialize();
    const { bytes } = dtypeInfo[this.dtype];
    const target = viewOf(this.dtype, new ArrayBuffer(this.size * bytes), 0, this.size);
    await this.#storage.read(target);
    return target;
  }

  /**
   * Brings the rows of a variable whose averages are kept lazily up to date, and those averages: overwrites that rows
   * have missed are in `data` afterwards. Of an average: the same for the variable that it is the average of. Runs in
   * the order of the steps and costs a pass over the table; nothing where nothing is behind.
   * @throws (rejects) DisposedVariableError, ClosedRuntimeError, QueueFullError, WorkerLostError
   * @example
   * import { Adagrad, Variable } from "@shardgrad/core";
   * const table = Variable.ones([1000, 4]);
   * const optimizer = new Adagrad({ useEma: true, emaMomentum: 0.5, sparseEma: "lazy" });
   * await optimizer.applyGradients([[{ indices: [7], values: [[1, 1, 1, 1]] }, table]]);
   * await table.materialize();
   * console.log(optimizer.averages[0].data[0]); // 1
   */
  async materialize(): Promise<void> {
    this.#refuseWhenDisposed();
    await this.#internals.runtime[runtimeInternals].queue.run(async () => {
      const { lazy } = this.#internals;
      if (lazy !== undefined) await catchUpAsync(lazy);
    });
  }

  /**
   * The values as numbers, nested by shape; each row is consistent, as with `gather`.
   * @throws DisposedVariableError, StateError and StaleValuesError as `gather`
   */
  toArray(): NestedArray {
    this.#refuseWhenDisposed();
    return readAll(this.#read());
  }

  /**
   * Copies rows, also while a step writes them: a row is as it was at one moment, never half old and half new. Rows of
   * one call can be of different moments, unlike those of `gatherAsync`. Waits for a step that writes the whole
   * variable; see docs/reading.md.
   *
   * @param indices - n row numbers, in any order and as often as you like
   * @param out - where the rows go: an array of the dtype with n times the row size elements, outside the variable's
   *   memory. Without it a new one is made. Row k is in elements k · rowSize to (k + 1) · rowSize; float16 as bits.
   * @returns `out`, or the new array
   * @throws IndexError, DtypeError, ShapeError (also for a scalar), ArgumentError, DisposedVariableError: nothing was
   *   written. StateError for a slot that a step is filling, and when a step does not end within a minute.
   *   StaleValuesError when the current values are on a device.
   * @example
   * import { Variable } from "@shardgrad/core";
   * const table = new Variable([[1, 2], [3, 4], [5, 6]]);
   * console.log(table.gather([2, 0])); // Float32Array(4) [ 5, 6, 1, 2 ]
   */
  gather<Out extends TypedArray = TypedArray>(indices: RowIndices, out?: Out): Out {
    this.#refuseWhenDisposed();
    const from = this.#read();
    const gather = checkGather(indices, out, from);
    from.reader.gather(gather.indices, 0, gather.indices.length, gather.target);
    return gather.out as Out;
  }

  /**
   * Copies rows between two steps of the runtime's queue, so that all are as the asynchronous steps called before have
   * left them. Many rows are copied in parts, with turns of the event loop between. Of a variable that lives on a device
   * only the rows come. `out` belongs to the call until its promise settles.
   * @throws (rejects) as `gather`; ClosedRuntimeError, QueueFullError
   * @example
   * import { Adagrad, Variable } from "@shardgrad/core";
   * const table = Variable.zeros([10, 2]);
   * new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0 }).applyGradients([
   *   [{ indices: [4], values: [[1, -1]] }, table],
   * ]);
   * console.log(await table.gatherAsync([4, 5])); // Float32Array(4) [ -1, 1, 0, 0 ]
   */
  async gatherAsync<Out extends TypedArray = TypedArray>(indices: RowIndices, out?: Out): Promise<Out> {
    this.#refuseWhenDisposed();
    const gather = checkGather(indices, out, this.#layout());
    await gatherInQueue(gather, this.#internals, () => {
      this.#refuseWhenDisposed();
      return this.#layout();
    });
    return gather.out as Out;
  }

  /**
   * What `Variable.attach` needs to read the variable in another worker thread: a plain object for `workerData` or
   * `postMessage`. It holds the memory, not a copy. The variable lives on the CPU from now on.
   * @throws DisposedVariableError, StaleValuesError when the current values are on a device
   */
  handle(): VariableHandle {
    this.#refuseWhenDisposed();
    const { model, runtime } = this.#internals;
    runtime[runtimeInternals].placed?.leaveNow(this.#storage.segments);
    (model ?? this.#internals).place = "cpu";
    return makeHandle(this, this.#internals);
  }

  /**
   * The variable of a handle, in this thread. For reading only, unless `writable` is set.
   * @throws ArgumentError for what is no handle, or that of another version of this package; DisposedVariableError,
   *   OptionError
   * @example
   * import { Variable } from "@shardgrad/core";
   * const table = new Variable([[1, 2], [3, 4]], { name: "table" });
   * const handle = structuredClone(table.handle()); // as another thread would get it
   * console.log(Variable.attach(handle).gather([1])); // Float32Array(2) [ 3, 4 ]
   */
  static attach(handle: VariableHandle, options: AttachOptions = {}): AttachedVariable {
    return new AttachedVariable(handle, options);
  }

  /**
   * Changes the number of rows, behind the steps that were called before and before those that are called later.
   * Accumulators, averages and slots made with `addVariableFromReference` follow. Rows never move: views taken before
   * stay views of the same rows. Growth uses room that was reserved, else adds segments, each with room for half as
   * many rows again; `data` throws once there are several. Shrinking drops the last rows; a view of them must not be
   * used any more. Rows that come again later are new ones.
   *
   * @param rows - the new number of rows, 0 or more
   * @param options.initializer - what new rows start with: "zeros", "ones" or a function that gets their shape.
   *   Default: the variable's own initializer if it was made from one (random numbers go on where they had ended),
   *   otherwise zeros. Accumulators start with the optimizer's initial value, averages with the new rows, other slots
   *   with their own initializer, or zeros where they were made from values
   * @throws (rejects) ArgumentError for a bad number or a slot, ShapeError for a scalar, OptionError,
   *   DisposedVariableError, MemoryExhaustedError, ClosedRuntimeError, QueueFullError: nothing has changed
   * @example
   * import { Adagrad, Variable } from "@shardgrad/core";
   * const table = Variable.uniform([1000, 16], { min: -0.1, max: 0.1, seed: 1, reserveRows: 5000 });
   * const optimizer = new Adagrad();
   * await optimizer.applyGradients([[{ indices: [999], values: [Array(16).fill(1)] }, table]]);
   * await table.resizeRows(1500); // in place, as room was reserved
   * await optimizer.applyGradients([[{ indices: [1499], values: [Array(16).fill(1)] }, table]]);
   * console.log(table.shape, optimizer.accumulators[0].shape, table.data.length); // [ 1500, 16 ] [ 1500, 16 ] 24000
   */
  resizeRows(rows: number, options: ResizeOptions = {}): Promise<void> {
    return resizeInTurn(this, rows, options);
  }

  /**
   * `resizeRows` at once, on the calling thread.
   * @throws as resizeRows, and StateError while steps of the runtime wait or run
   * @example
   * import { Variable } from "@shardgrad/core";
   * const table = Variable.ones([2, 3]);
   * table.resizeRowsSync(3, { initializer: "zeros" });
   * console.log(table.toArray()); // [ [ 1, 1, 1 ], [ 1, 1, 1 ], [ 0, 0, 0 ] ]
   */
  resizeRowsSync(rows: number, options: ResizeOptions = {}): void {
    resizeAtOnce(this, rows, options);
  }

  /** Gives the memory back, at the end of the step that uses it if there is one. Again: nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#unfollow();
    this.#internals.header.dispose();
    this.#storage.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #publish(rows: number, plan: StoragePlan): void {
    const { header, rowSize } = this.#internals;
    // Readers must know of rows that go before their memory is given back.
    writeNow([this], () => {
      header.publish(rows, rowSize, plan.segments);
      this.#storage.publish(plan);
    });
    this.#shape = Object.freeze([rows, ...this.#shape.slice(1)]);
    this.#size = sizeOf(this.#shape);
  }

  /** Averages that rows have missed were of their present values. */
  #catchUp(call: string): void {
    const { lazy, runtime } = this.#internals;
    if (!lazy?.behind) return;
    const { pending } = runtime[runtimeInternals].queue;
    if (pending > 0)
      throw new StateError(`${call}: ${pending} asynchronous steps are pending; await them first.`);
    catchUpSync(lazy);
  }

  /** How the variable is read, wherever its values are. */
  #layout(): Readable {
    const { segments } = this.#storage;
    if (this.#readable === undefined || this.#readableSegments !== segments) {
      this.#readable = readableOf(this, this.#internals);
      this.#readableSegments = segments;
    }
    return this.#readable;
  }

  /** The variable as it is read now. @throws StaleValuesError */
  #read(): Readable {
    this.#storage.refuseStale();
    return this.#layout();
  }

  #refuseWhenDisposed(): void {
    if (this.#disposed) throw disposedError(this.name);
  }
}

/**
 * A variable whose elements lie in the same memories as those of a reference: of the same shape, or with one element
 * for each of its rows.
 * @param later - takes what would fill it, instead of filling it at once
 */
export function variableBeside(
  reference: Variable,
  initialValue: NestedArray | TypedArray | Initializer,
  options: VariableOptions,
  later?: PendingFill[],
): Variable {
  return new Variable(initialValue, {
    ...options,
    ...besideOptions(reference, later),
  } as VariableOptions);
}
