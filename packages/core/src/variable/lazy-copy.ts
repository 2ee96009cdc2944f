import {
  type DType,
  doubleFromHalf,
  dtypeInfo,
  halfFromDouble,
  type TypedArray,
  viewOf,
} from "@shardgrad/workers";
import { AVERAGE_BEHIND, CURRENT, LazyRows } from "./lazy-rows.js";

/** Rows of a variable or of its average where that is kept lazily, as a catch-up would leave them. */
export class LazyCopy {
  readonly #rows: LazyRows;
  readonly #dtype: DType;
  readonly #rowSize: number;
  readonly #ofAverage: boolean;
  #buffer: ArrayBufferLike | undefined;
  #words: Uint32Array = new Uint32Array(0);
  #doubles: Float64Array = new Float64Array(0);
  #values: TypedArray = this.#doubles;
  #variable = 0;

  constructor(dtype: DType, rowSize: number, ofAverage: boolean) {
    this.#rows = new LazyRows(dtype);
    this.#dtype = dtype;
    this.#rowSize = rowSize;
    this.#ofAverage = ofAverage;
  }

  /**
   * @param buffer - the segment's memory
   * @param block, variable - byte offsets in it, of the lazy block and of the variable's elements
   */
  open(buffer: ArrayBufferLike, block: number, variable: number): void {
    if (buffer !== this.#buffer) {
      this.#buffer = buffer;
      this.#words = new Uint32Array(buffer);
      this.#doubles = new Float64Array(buffer);
      this.#values = viewOf(this.#dtype, buffer, 0, buffer.byteLength / dtypeInfo[this.#dtype].bytes);
    }
    this.#variable = variable;
    this.#rows.open(this.#words, this.#doubles, block);
  }

  /**
   * Writes a row, counted from the segment's first, to a row of `target`; false, and nothing is written, if the row's
   * own elements are what a catch-up would leave.
   */
  copy(row: number, target: TypedArray, targetRow: number): boolean {
    const state = this.#rows.look(row);
    if (state === CURRENT || (state === AVERAGE_BEHIND && !this.#ofAverage)) return false;
    const size = this.#rowSize;
    const { bytes } = dtypeInfo[this.#dtype];
    const values = this.#values;
    const half = this.#dtype === "float16";
    let e = this.#rows.average / bytes + row * size;
    let w = this.#variable / bytes + row * size;
    const end = (targetRow + 1) * size;
    for (let t = targetRow * size; t < end; t++, e++, w++) {
      if (half) {
        const value = this.#rows.caughtUp(doubleFromHalf(values[e]!), doubleFromHalf(values[w]!));
        target[t] = halfFromDouble(value);
      } else {
        target[t] = this.#rows.caughtUp(values[e]!, values[w]!);
      }
    }
    return true;
  }
}
