import { type TypedArray, viewOf } from "@shardgrad/workers";
import type { SharedHeader } from "./header.js";
import { ReadGuard } from "./read-guard.js";
import type { Reader, RowLayout, RowSegment, RowTarget } from "./row-layout.js";

/**
 * Reads rows that are larger than a memory and lie in several. Such a variable takes dense gradients only, so that the
 * word for writes of the whole variable is all there is to look at.
 */
export class CutRowReader implements Reader {
  readonly #layout: RowLayout;
  readonly #header: SharedHeader;
  readonly #guard: ReadGuard;

  constructor(layout: RowLayout, header: SharedHeader, checksAlive: boolean) {
    this.#layout = layout;
    this.#header = header;
    this.#guard = new ReadGuard(layout.name, header, checksAlive);
  }

  checkRows(indices: Uint32Array): void {
    const guard = this.#guard;
    guard.patience.reset();
    for (;;) {
      guard.enter();
      const unknown = indices.find((row) => !this.#reach(row));
      if (unknown === undefined) return;
      if (guard.left()) guard.refuse(unknown);
      guard.patience.pause();
    }
  }

  gather(indices: Uint32Array, from: number, to: number, { values }: RowTarget): void {
    for (let i = from; i < to; i++) this.#read(indices[i]!, values, i);
  }

  readRows(first: number, count: number, { values }: RowTarget): void {
    for (let i = 0; i < count; i++) this.#read(first + i, values, i);
  }

  #read(row: number, target: TypedArray, targetRow: number): void {
    const { rowSize, dtype } = this.#layout;
    const guard = this.#guard;
    guard.patience.reset();
    for (;;) {
      guard.enter();
      const there = this.#reach(row, ({ memory, offset, start, capacity }, from, to) => {
        // Between arrays of one type `set` moves bytes.
        const source = viewOf(dtype, memory.buffer, offset, capacity);
        target.set(source.subarray(from - start, to - start), (targetRow - row) * rowSize + from);
      });
      if (guard.left()) {
        if (there) return;
        guard.refuse(row);
      }
      guard.patience.pause();
    }
  }

  /** Goes through the parts of a row; false if it is not all there, in segments that this reader knows. */
  #reach(row: number, visit?: (segment: RowSegment, from: number, to: number) => void): boolean {
    const { segments, rowSize } = this.#layout;
    if (row >= this.#header.rows) return false;
    const end = (row + 1) * rowSize;
    let at = row * rowSize;
    for (const [i, segment] of segments.entries()) {
      const to = Math.min(end, segment.start + segment.capacity);
      if (to <= at || segment.start > at) continue;
      if (!this.#header.has(i, segment.place)) return false;
      visit?.(segment, at, to);
      at = to;
    }
    return at === end;
  }
}
