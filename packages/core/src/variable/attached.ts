import { type DType, type TypedArray, viewOf } from "@shardgrad/workers";
import { OptionError, SplitVariableError, StateError } from "../errors/index.js";
import type { RowIndices } from "../gradients/indexed-slices.js";
import { printedAs } from "../inspect.js";
import { checkOptions } from "../schedules/options.js";
import { checkGather, type Readable, readAll } from "./gather.js";
import { checkHandle, type VariableHandle } from "./handle.js";
import { SharedHeader } from "./header.js";
import { disposedError } from "./read-guard.js";
import type { VariableSegment } from "./readable-variable.js";
import { readerOf } from "./row-reader.js";
import { type NestedArray, sizeOf } from "./values.js";

/** The options of `Variable.attach`. */
export interface AttachOptions {
  /** Whether `data` and `segments` give views, which can be written through. Default false. */
  readonly writable?: boolean | undefined;
}

/**
 * A variable of another thread, in the same memory: what `Variable.attach` returns. It is read by `gather` and `toArray`,
 * also during steps; each row is as it was at one moment.
 *
 * @example
 * import { Worker } from "node:worker_threads";
 * import { Variable } from "@shardgrad/core";
 * const table = Variable.ones([1000, 16], { name: "table" });
 * const code = `
 *   import { workerData } from "node:worker_threads";
 *   import { Variable } from "@shardgrad/core";
 *   const table = Variable.attach(workerData);
 *   console.log(table.name, table.gather([7])[15]);`;
 * const url = new URL(`data:text/javascript,${encodeURIComponent(code.replace("@shardgrad/core", import.meta.resolve("@shardgrad/core")))}`);
 * new Worker(url, { workerData: table.handle() }); // table 1
 */
export class AttachedVariable {
  static {
    printedAs(AttachedVariable.prototype, ({ name, shape, dtype, writable, disposed }) => ({
      ...{ name, shape, dtype, writable, disposed },
    }));
  }

  readonly name: string;
  readonly dtype: DType;
  readonly writable: boolean;
  readonly #header: SharedHeader;
  readonly #readable: Readable;

  /** @internal Use `Variable.attach`. */
  constructor(handle: VariableHandle, options: AttachOptions = {}) {
    checkHandle(handle);
    this.writable = checkAttachOptions(options);
    const { name, shape, dtype, layout } = handle;
    const header = new SharedHeader(handle.header, handle.guard, handle.isSlot, handle.tables);
    if (!header.alive) throw disposedError(name);
    this.name = name;
    this.dtype = dtype;
    this.#header = header;
    this.#readable = {
      get shape() {
        return shape.length === 0 ? shape : [header.rows, ...shape.slice(1)];
      },
      layout,
      reader: readerOf(layout, header, true),
      get rows() {
        return header.rows;
      },
      liesIn: (segment, buffer) => layout.segments[segment]!.memory.buffer === buffer,
    };
  }

  /** The shape now: the variable may have gained or lost rows since the handle was made. */
  get shape(): readonly number[] {
    return Object.freeze([...this.#readable.shape]);
  }

  /** Number of elements now. */
  get size(): number {
    return sizeOf(this.#readable.shape);
  }

  /** Whether the owner has disposed of the variable. */
  get disposed(): boolean {
    return !this.#header.alive;
  }

  /**
   * Copies rows, as `Variable.gather`. Waits for a step that writes the whole variable.
   * @throws IndexError, DtypeError, ShapeError, ArgumentError: nothing was written to `out`. StateError for a row in
   *   memory that the variable has gained since the handle was made, and when a step does not end within a minute.
   *   DisposedVariableError: `out` may be partly written.
   */
  gather<Out extends TypedArray = TypedArray>(indices: RowIndices, out?: Out): Out {
    const { reader } = this.#readable;
    if (this.disposed) throw disposedError(this.name);
    const gather = checkGather(indices, out, this.#readable);
    reader.checkRows(gather.indices);
    reader.gather(gather.indices, 0, gather.indices.length, gather.target);
    return gather.out as Out;
  }

  /**
   * The values as numbers, nested by `shape`; each row is consistent.
   * @throws DisposedVariableError, StateError; IndexError when the variable has lost rows since the handle was made
   */
  toArray(): NestedArray {
    if (this.disposed) throw disposedError(this.name);
    return readAll(this.#readable);
  }

  /**
   * Live view of the elements that there were when the handle was made, by which they can be written, too: nothing keeps such writes and steps apart.
   * @throws StateError unless attached with `writable`; SplitVariableError, DisposedVariableError
   */
  get data(): TypedArray {
    const segments = this.segments;
    if (segments.length === 1) return segments[0]!.data;
    throw new SplitVariableError(`${this.name} lies in ${segments.length} segments: use \`segments\`.`);
  }

  /** Live views of all elements in order, one for each memory. @throws as `data` */
  get segments(): readonly VariableSegment[] {
    if (!this.writable) {
      const message = `${this.name} was attached for reading: use \`gather\`, or attach it with \`writable: true\`.`;
      throw new StateError(message);
    }
    if (this.disposed) throw disposedError(this.name);
    return this.#readable.layout.segments.map(({ memory, offset, start, count }) => ({
      start,
      data: viewOf(this.dtype, memory.buffer, offset, count),
    }));
  }
}

function checkAttachOptions(options: AttachOptions): boolean {
  checkOptions("Variable.attach", options, { writable: "writable" });
  const { writable = false } = options;
  if (typeof writable === "boolean") return writable;
  throw new OptionError({ argument: "writable", received: writable, expected: "true or false" });
}
