import type { DType, TypedArray } from "@shardgrad/workers";
import { SplitVariableError } from "../errors/index.js";
import type { RowIndices } from "../gradients/indexed-slices.js";
import { printedAs } from "../inspect.js";
import { runtimeInternals } from "../runtime/internals.js";
import { follow, SlotRows } from "./followers.js";
import { checkGather, gatherInQueue, type Readable, readAll } from "./gather.js";
import { makeHandle, readableOf, type VariableHandle } from "./handle.js";
import type { Initializer } from "./initializers.js";
import { type VariableInternals, variableInternals } from "./internals.js";
import { makeVariable } from "./make-variable.js";
import type { VariableOptions } from "./options.js";
import { refuseWhenDisposed } from "./read-guard.js";
import type { StoragePlan } from "./resize-plan.js";
import type { Storage } from "./storage.js";
import { type NestedArray, sizeOf } from "./values.js";
import { writeNow } from "./writes.js";

/** A part of a variable that lies in one memory. */
export interface VariableSegment {
  /** Flat offset of its first element. */
  readonly start: number;
  /** Live view of its elements. */
  readonly data: TypedArray;
}

/** What a variable is, where it lies, and how it is read; Variable adds how it is made and written. */
export abstract class ReadableVariable {
  static {
    printedAs(ReadableVariable.prototype, ({ name, shape, dtype, trainable, disposed }) => ({
      ...{ name, shape, dtype, trainable },
      ...(disposed ? { disposed } : {}),
    }));
  }

  readonly name: string;
  readonly dtype: DType;
  readonly trainable: boolean;
  #shape: readonly number[];
  #size: number;
  readonly #storage: Storage;
  readonly #internals: VariableInternals;
  #disposed = false;
  readonly #unfollow: () => void;
  #readable: Readable | undefined;
  #readableSegments: Storage["segments"] | undefined;

  /** @throws as the constructor of Variable */
  constructor(initialValue: NestedArray | TypedArray | Initializer, options: VariableOptions) {
    const publish = (rows: number, plan: StoragePlan) => this.#publish(rows, plan);
    const { shape, dtype, internals, model } = makeVariable(initialValue, options, publish);
    const { storage, name, initializer } = internals;
    this.name = name;
    this.dtype = dtype;
    this.trainable = options.trainable ?? true;
    this.#shape = shape;
    this.#size = sizeOf(shape);
    this.#storage = storage;
    this.#internals = internals;
    this.#unfollow = model === undefined ? () => {} : follow(model, new SlotRows(this, initializer));
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

  /**
   * Live view of the elements in shared memory; float16 as bit patterns. Its buffer can be posted to threads.
   * It must not be used after `dispose`, and not after a step that ran on a device: ask for it again then.
   * @throws DisposedVariableError, SplitVariableError when the variable lies in several memories, StaleValuesError when
   *   the current values are on a device
   */
  get data(): TypedArray {
    refuseWhenDisposed(this);
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
    refuseWhenDisposed(this);
    return this.#storage.segments.map(({ start, view }) => ({ start, data: view }));
  }

  /** Whether `dispose` was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * The values as numbers, nested by shape; each row is consistent, as with `gather`.
   * @throws DisposedVariableError, StateError and StaleValuesError as `gather`
   */
  toArray(): NestedArray {
    refuseWhenDisposed(this);
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
    refuseWhenDisposed(this);
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
    refuseWhenDisposed(this);
    const gather = checkGather(indices, out, this.#layout());
    await gatherInQueue(gather, this.#internals, () => {
      refuseWhenDisposed(this);
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
    refuseWhenDisposed(this);
    const { model, runtime } = this.#internals;
    runtime[runtimeInternals].placed?.leaveNow(this.#storage.segments);
    (model ?? this.#internals).place = "cpu";
    return makeHandle(this, this.#internals);
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

  /** The variable as it is read now. @throws StaleValuesError */
  #read(): Readable {
    this.#storage.refuseStale();
    return this.#layout();
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
}
