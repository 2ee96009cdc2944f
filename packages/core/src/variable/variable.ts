import { type DType, dtypeInfo, type TypedArray, viewOf } from "@shardgrad/workers";
import {
  ArgumentError,
  ClosedRuntimeError,
  DisposedVariableError,
  OptionError,
  SplitVariableError,
} from "../errors/index.js";
import { runtimeInternals } from "../runtime/internals.js";
import { Runtime } from "../runtime/runtime.js";
import { describe } from "./describe.js";
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
import { Storage } from "./storage.js";
import { type NestedArray, nest, readNumbers, rowSizeOf, sizeOf } from "./values.js";

export interface VariableOptions {
  /** Default "Variable". Slots are named after it. */
  readonly name?: string | undefined;
  /** Needed with an initializer; otherwise the value's own shape, or any of the same size. */
  readonly shape?: readonly number[] | undefined;
  /** Default float32, or what a typed array holds. */
  readonly dtype?: DType | undefined;
  /** Where the memory comes from; default `Runtime.default()`. */
  readonly runtime?: Runtime | undefined;
  /** Default true. Optimizer slots are not trainable. */
  readonly trainable?: boolean | undefined;
  /**
   * Where the variable, its accumulators and averages live when the runtime has a device: `gpu` wherever that can be,
   * `cpu` never there, `auto` (the default) by size and use. See docs/gpu.md.
   */
  readonly device?: "auto" | "cpu" | "gpu" | undefined;
}

/** A part of a variable that lies in one memory. */
export interface VariableSegment {
  /** Flat offset of its first element. */
  readonly start: number;
  /** Live view of its elements. */
  readonly data: TypedArray;
}

const optionNames = new Set(["name", "shape", "dtype", "runtime", "trainable", "device"]);
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
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Number of elements. */
  readonly size: number;
  readonly trainable: boolean;
  readonly #storage: Storage;
  readonly #internals: VariableInternals;
  #disposed = false;

  /**
   * @param initialValue - a number, nested arrays, a typed array of the dtype (Uint16Array: float16 bit
   *   patterns), or an initializer: "zeros", "ones", or a function of shape and dtype
   * @throws ShapeError, DtypeError, OptionError, ClosedRuntimeError, MemoryExhaustedError
   */
  constructor(initialValue: NestedArray | TypedArray | Initializer, options: VariableOptions = {}) {
    for (const [name, value] of Object.entries(options)) {
      if (!optionNames.has(name)) {
        const message = `Unknown option \`${name}\` of Variable.`;
        throw new OptionError({
          argument: name,
          received: value,
          expected: [...optionNames].join(", "),
          message,
        });
      }
    }
    const { device = "auto" } = options;
    if (device !== "auto" && device !== "cpu" && device !== "gpu") {
      const expected = '"auto", "cpu" or "gpu"';
      throw new OptionError({ argument: "device", received: device, expected });
    }
    const { shape, dtype } = describe(initialValue, options);
    this.name = options.name ?? "Variable";
    this.shape = Object.freeze([...shape]);
    this.dtype = dtype;
    this.size = sizeOf(shape);
    this.trainable = options.trainable ?? true;
    const fill = initialValues(initialValue, this.shape, dtype);
    const runtime = options.runtime ?? Runtime.default();
    const internals = runtime[runtimeInternals];
    if (internals === undefined) {
      throw new OptionError({ argument: "runtime", received: runtime, expected: "a Runtime" });
    }
    if (runtime.closed) throw new ClosedRuntimeError();
    const reference = besideOf(options);
    const rowSize = rowSizeOf(shape);
    const later = laterOf(options);
    this.#storage =
      reference === undefined
        ? Storage.create(internals.memory, dtype, this.size, rowSize)
        : storageBeside(reference, this.shape, this.size, dtype);
    this.#internals = { storage: this.#storage, runtime, rowSize, pin: created++, place: device };
    try {
      for (const { view, start } of this.#storage.segments) {
        if (later === undefined) fill(view, start);
        else later.push({ view, start, fill });
      }
    } catch (error) {
      this.#storage.release();
      throw error;
    }
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
        `${this.name} is larger than one memory and lies in ${segments.length} segments: use \`segments\`.`,
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
   * @throws ShapeError, DtypeError for a typed array of another dtype, ArgumentError, DisposedVariableError,
   *   StaleValuesError when the values are on a device: `await runtime.synchronize()` first
   */
  assign(values: NestedArray | TypedArray): void {
    this.#refuseWhenDisposed();
    if (typeof values === "string" || typeof values === "function") {
      throw new ArgumentError({ argument: "values", received: values, expected: "numbers or a typed array" });
    }
    const { shape, dtype } = describe(values, { shape: this.shape, dtype: this.dtype }, "values", true);
    const fill = initialValues(values, shape, dtype, "values");
    for (const { view, start } of this.#storage.segments) fill(view, start);
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
    const { bytes } = dtypeInfo[this.dtype];
    const target = viewOf(this.dtype, new ArrayBuffer(this.size * bytes), 0, this.size);
    await this.#storage.read(target);
    return target;
  }

  /** The values as numbers, nested by shape. @throws DisposedVariableError, StaleValuesError */
  toArray(): NestedArray {
    this.#refuseWhenDisposed();
    const flat = this.#storage.segments.flatMap(({ view }) => readNumbers(this.dtype, view));
    return nest(flat, this.shape);
  }

  /** Gives the memory back, at the end of the step that uses it if there is one. Again: nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#storage.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #refuseWhenDisposed(): void {
    if (!this.#disposed) return;
    const message = `The variable ${this.name} was disposed.`;
    throw new DisposedVariableError({
      argument: "variable",
      received: this.name,
      expected: "a live variable",
      message,
    });
  }
}

/** Options of slots that share the memories of a model variable; not part of the public options. */
const beside: unique symbol = Symbol("beside");
const fillLater: unique symbol = Symbol("fillLater");

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
    [beside]: reference,
    [fillLater]: later,
  } as VariableOptions);
}

function storageBeside(reference: Variable, shape: readonly number[], size: number, dtype: DType): Storage {
  const { storage, rowSize, runtime } = reference[variableInternals];
  const { memory } = runtime[runtimeInternals];
  const same = shape.length === reference.shape.length;
  return same
    ? Storage.beside(memory, storage, dtype)
    : Storage.besideRows(memory, storage, dtype, size, rowSize);
}

function laterOf(options: VariableOptions): PendingFill[] | undefined {
  return (options as { [fillLater]?: PendingFill[] })[fillLater];
}

function besideOf(options: VariableOptions): Variable | undefined {
  return (options as { [beside]?: Variable })[beside];
}
