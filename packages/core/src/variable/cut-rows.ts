import { type TypedArray, viewOf } from "@shardgrad/workers";
import type { SharedHeader } from "./header.js";
import { ReadGuard } from "./read-guard.js";
import type { Reader, RowLayout, RowTarget } from "./row-layout.js";

/**
 * Reads rows that are larger than a memory and lie in several. Such a variable takes dense gradients only, so that the
 * word for writes of the whole variable is all there is to look at.
 */
export class CutRowReader implements Reader {
  readonly #layout: RowLayout;
  readonly #guard: ReadGuard;

  constructor(layout: RowLayout, header: SharedHeader, checksAlive: boolean) {
    this.#layout = layout;
    this.#guard = new ReadGuard(layout.name, header, checksAlive);
  }

  checkRows(): void {
    this.#guard.enter();
  }

  gather(indices: Uint32Array, from: number, to: number, { values }: RowTarget): void {
    for (let i = from; i < to; i++) this.#read(indices[i]!, values, i);
  }

  readRows(first: number, count: number, { values }: RowTarget): void {
    for (let i = 0; i < count; i++) this.#read(first + i, values, i);
  }

  #read(row: number, target: TypedArray, targetRow: number): void {
    const { rowSize } = this.#layout;
    this.#guard.patience.reset();
    for (;;) {
      this.#guard.enter();
      this.#copy(row * rowSize, (row + 1) * rowSize, target, targetRow * rowSize);
      if (this.#guard.left()) return;
      this.#guard.patience.pause();
    }
  }

  #copy(from: number, to: number, target: TypedArray, at: number): void {
    const { segments, dtype } = this.#layout;
    for (const { memory, offset, start, count } of segments) {
      const first = Math.max(from, start);
      const end = Math.min(to, start + count);
      if (first >= end) continue;
      // Between arrays of one type `set` moves bytes.
      const source = viewOf(dtype, memory.buffer, offset, count);
      target.set(source.subarray(first - start, end - start), at + first - from);
    }
  }
}
