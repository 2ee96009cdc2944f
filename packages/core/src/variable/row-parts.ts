import { type UnitBytes, type Units, unitsOf } from "./copy-rows.js";
import type { SharedHeader } from "./header.js";
import { type RowLayout, type RowSegment, rowBytesOf } from "./row-layout.js";

/** What can be read of a segment now. */
export interface Part {
  readonly index: number;
  readonly segment: RowSegment;
  readonly firstRow: number;
  readonly endRow: number;
  readonly source: Units;
  readonly versions: Int32Array;
}

/** What a reader can read now of the segments that it knows. */
export class RowParts {
  readonly #layout: RowLayout;
  readonly #header: SharedHeader;
  readonly #rowBytes: number;
  #parts: readonly Part[] = [];
  #epoch = -1;
  #unit: UnitBytes = 2;

  constructor(layout: RowLayout, header: SharedHeader) {
    this.#layout = layout;
    this.#header = header;
    this.#rowBytes = rowBytesOf(layout);
  }

  /** Rows from here on are in none of the parts. */
  get endRow(): number {
    return this.#parts[this.#parts.length - 1]?.endRow ?? 0;
  }

  /**
   * The segments as they are now, for copying in units. The epoch is loaded first, and changes last: a mixture of old and
   * new does not outlive the change, and `left` is false for who has used it.
   */
  open(unit: UnitBytes = this.#unit): void {
    const { epoch } = this.#header;
    if (epoch === this.#epoch && unit === this.#unit) return;
    const { rows } = this.#header;
    const { segments, rowSize } = this.#layout;
    const parts: Part[] = [];
    for (const [index, segment] of segments.entries()) {
      const firstRow = rowSize === 0 ? 0 : segment.start / rowSize;
      const { buffer } = segment.memory;
      const count = Math.min(this.#header.rowsOf(index, segment.place), rows - firstRow);
      const bytes = count * this.#rowBytes;
      if (count <= 0 || segment.offset + bytes > buffer.byteLength) break;
      const source = unitsOf(unit, buffer, segment.offset, bytes);
      const versions = new Int32Array(buffer, segment.versions, segment.mask + 1);
      parts.push({ index, segment, firstRow, endRow: firstRow + count, source, versions });
    }
    this.#parts = parts;
    this.#epoch = epoch;
    this.#unit = unit;
  }

  /** The part that a row lies in; undefined where there is none. */
  of(row: number): Part | undefined {
    const parts = this.#parts;
    let low = 0;
    let high = parts.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (row < parts[middle]!.endRow) high = middle;
      else low = middle + 1;
    }
    const part = parts[low];
    return part !== undefined && row < part.endRow ? part : undefined;
  }
}
