import type { TypedArray } from "@shardgrad/workers";
import { ArgumentError, StateError } from "../errors/index.js";
import { runtimeInternals } from "../runtime/internals.js";
import { AttachedVariable, type AttachOptions } from "./attached.js";
import { catchUpAsync, catchUpSync } from "./catch-up.js";
import { describe } from "./describe.js";
import type { VariableHandle } from "./handle.js";
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
import { besideOptions, type VariableOptions } from "./options.js";
import { refuseWhenDisposed } from "./read-guard.js";
import { readInQueue } from "./read-values.js";
import { ReadableVariable } from "./readable-variable.js";
import { type ResizeOptions, resizeAtOnce, resizeInTurn } from "./resize.js";
import { tensorInQueue } from "./tensor.js";
import type { NestedArray } from "./values.js";
import { writeNow } from "./writes.js";

export type { VariableOptions } from "./options.js";
export type { VariableSegment } from "./readable-variable.js";

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
export class Variable extends ReadableVariable {
  /**
   * @param initialValue - a number, nested arrays, a typed array of the dtype (Uint16Array: float16 bit
   *   patterns), or an initializer: "zeros", "ones", or a function of shape and dtype
   * @throws ShapeError, DtypeError, OptionError, ClosedRuntimeError, MemoryExhaustedError
   */
  constructor(initialValue: NestedArray | TypedArray | Initializer, options: VariableOptions = {}) {
    super(initialValue, options);
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
   * Replaces all values.
   * @throws ShapeError, DtypeError for a typed array of another dtype, ArgumentError, DisposedVariableError;
   *   StaleValuesError when the values are on a device (`await runtime.synchronize()` first); StateError with lazy
   *   averages while asynchronous steps are pending
   */
  assign(values: NestedArray | TypedArray): void {
    refuseWhenDisposed(this);
    if (typeof values === "string" || typeof values === "function") {
      throw new ArgumentError({ argument: "values", received: values, expected: "numbers or a typed array" });
    }
    const { shape, dtype } = describe(values, { shape: this.shape, dtype: this.dtype }, "values", true);
    const fill = initialValues(values, shape, dtype, "values");
    this[variableInternals].storage.refuseStale();
    catchUp("assign", this[variableInternals]);
    writeNow([this], () => {
      for (const { view, start } of this[variableInternals].storage.segments) fill(view, start);
    });
  }

  /**
   * A copy of all values, wherever the variable lives, between two steps of the runtime's queue: as the asynchronous steps
   * called before have left them. Large ones are copied in parts, with turns of the event loop between.
   *
   * @returns a typed array of `size` elements; float16 as bit patterns
   * @throws (rejects) DisposedVariableError, StateError as `gather`; ClosedRuntimeError when the runtime is closed before its turn
   * @example
   * import { Variable } from "@shardgrad/core";
   * console.log(await new Variable([[1, 2], [3, 4]]).read()); // Float32Array(4) [ 1, 2, 3, 4 ]
   */
  async read(): Promise<TypedArray> {
    refuseWhenDisposed(this);
    return readInQueue(this);
  }

  /**
   * A tensor of the tfjs that the runtime was given (`device: "tfjs"`), with the values that the steps called before have
   * left, in the order of the queue. On the WebGPU back end of tfjs it is the variable's own memory, without a copy: later
   * steps change its values, and it is disposed when the variable is, leaves the device or is resized. Elsewhere it keeps
   * the values of now. What the host writes is in it after the next step, or the next call.
   *
   * @returns a new tensor of the variable's shape, float32: yours to dispose. Not to be written
   * @throws (rejects) StateError when there is no such device, or the variable cannot be there: not float32, no elements,
   *   larger than a buffer of the device; SplitVariableError when it lies in several memories; GpuMemoryError,
   *   DisposedVariableError, ClosedRuntimeError, QueueFullError
   * @example
   * import { Runtime, Variable } from "@shardgrad/core";
   * import * as tf from "@tensorflow/tfjs-core";
   * import "@tensorflow/tfjs-backend-wasm";
   * await tf.setBackend("wasm");
   * const runtime = new Runtime({ device: "tfjs", tf });
   * const weights = new Variable([[1, 2], [3, 4]], { runtime });
   * const w = await weights.tensor(); // in TypeScript tensor<tf.Tensor2D>()
   * console.log(await tf.matMul(w, w).array()); // [ [ 7, 10 ], [ 15, 22 ] ]
   * w.dispose();
   * await runtime.close();
   */
  async tensor<T extends object = object>(): Promise<T> {
    refuseWhenDisposed(this);
    return (await tensorInQueue(this)) as T;
  }

  /**
   * Brings the rows of a variable whose averages are kept lazily up to date, and those averages: overwrites that rows
   * have missed are in `data` afterwards. Of an average: the same for the variable that it is the average of. Runs in
   * the order of the steps and costs a pass over the table; nothing where nothing is behind. A table that lives on a device
   * is brought up to date there: `await runtime.synchronize()` before `data`.
   * @throws (rejects) DisposedVariableError, also for the average of a disposed variable; ClosedRuntimeError,
   *   QueueFullError, WorkerLostError
   * @example
   * import { Adagrad, Variable } from "@shardgrad/core";
   * const table = Variable.ones([1000, 4]);
   * const optimizer = new Adagrad({ useEma: true, emaMomentum: 0.5, sparseEma: "lazy" });
   * await optimizer.applyGradients([[{ indices: [7], values: [[1, 1, 1, 1]] }, table]]);
   * await table.materialize();
   * console.log(optimizer.averages[0].data[0]); // 1
   */
  async materialize(): Promise<void> {
    refuseWhenDisposed(this);
    await this[variableInternals].runtime[runtimeInternals].queue.run(async () => {
      refuseWhenDisposed(this);
      const { lazy } = this[variableInternals];
      if (lazy === undefined) return;
      refuseWhenDisposed(lazy.variable);
      await catchUpAsync(lazy);
    });
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
}

/** Averages that rows have missed were of their present values. */
function catchUp(call: string, { lazy, runtime }: VariableInternals): void {
  if (!lazy?.behind) return;
  const { pending } = runtime[runtimeInternals].queue;
  if (pending > 0)
    throw new StateError(`${call}: ${pending} asynchronous steps are pending; await them first.`);
  catchUpSync(lazy);
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
