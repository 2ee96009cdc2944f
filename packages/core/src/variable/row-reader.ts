import { copyRows } from "./copy-rows.js";
import { CutRowReader } from "./cut-rows.js";
import type { SharedHeader } from "./header.js";
import { LazyCopy } from "./lazy-copy.js";
import { fence } from "./patience.js";
import { ReadGuard } from "./read-guard.js";
import { type Reader, type RowLayout, type RowTarget, rowBytesOf, targetOf } from "./row-layout.js";
import { type Part, RowParts } from "./row-parts.js";

/** Most rows, and about the most bytes, that are copied between two looks at the version words. */
const BATCH_ROWS = 64;
const BATCH_BYTES = 65_536;
/** Row blocks of at least so many bytes are copied as a whole where all rows are wanted. */
const WHOLE_BLOCK = 1024;
/** Most rows that are copied together, or listed, otherwise. */
const LISTED = 4096;

/** @param checksAlive - false for the owner, which holds the memory while it reads */
export function readerOf(layout: RowLayout, header: SharedHeader, checksAlive: boolean): Reader {
  const { rowSize, segments } = layout;
  const cut = rowSize > 0 && segments.some(({ start }) => start % rowSize !== 0);
  return new (cut ? CutRowReader : RowReader)(layout, header, checksAlive);
}

/**
 * Copies rows out of shared memory while other threads write them, each row as it was at one moment.
 *
 * A sequence lock on two levels: the word of the row's block (kernels: versions.ts), and the word for writes of the whole
 * variable (header.ts). A reader loads both, copies, and loads both again; if one was odd or has changed, it copies
 * again. So what it keeps was copied between two writes of the row.
 *
 * Order: whole-variable word, words of the rows, fence, copying, fence, words of the rows, whole-variable word. The
 * whole-variable word is loaded atomically; the words of a batch of rows by plain loads, which are aligned and so never
 * torn, and which the fences keep on their side of the copying. (An atomic load is a call in V8, 8 ns a row.)
 *
 * A reader waits for the writer of a block of rows, or of the whole variable, and never delays one.
 */
class RowReader implements Reader {
  readonly #layout: RowLayout;
  readonly #header: SharedHeader;
  readonly #guard: ReadGuard;
  readonly #lazyCopy: LazyCopy;
  readonly #rowBytes: number;
  readonly #batchRows: number;
  readonly #parts: RowParts;
  // Of the rows of a batch: number within the segment, version, segment.
  readonly #local = new Uint32Array(BATCH_ROWS);
  readonly #seen = new Int32Array(BATCH_ROWS);
  readonly #partOfRow: Part[] = [];
  /** Of row blocks that are copied together. */
  readonly #seenOfBlocks = new Int32Array(LISTED + 1);
  /** Positions of the rows that have to be read again. */
  readonly #failed = new Uint32Array(BATCH_ROWS);

  constructor(layout: RowLayout, header: SharedHeader, checksAlive: boolean) {
    this.#layout = layout;
    this.#header = header;
    this.#parts = new RowParts(layout, header);
    this.#guard = new ReadGuard(layout.name, header, checksAlive);
    this.#lazyCopy = new LazyCopy(layout.dtype, layout.rowSize, header.isSlot);
    this.#rowBytes = rowBytesOf(layout);
    this.#batchRows = Math.min(
      Math.max(Math.floor(BATCH_BYTES / Math.max(this.#rowBytes, 1)), 1),
      BATCH_ROWS,
    );
  }

  checkRows(indices: Uint32Array): void {
    const guard = this.#guard;
    guard.patience.reset();
    for (;;) {
      guard.enter();
      this.#parts.open();
      const known = this.#parts.endRow;
      const unknown = firstFrom(known, indices);
      if (unknown === undefined) return;
      if (guard.left()) guard.refuse(unknown);
      guard.patience.pause();
    }
  }

  gather(indices: Uint32Array, from: number, to: number, target: RowTarget): void {
    if (this.#rowBytes === 0) return;
    for (let at = from; at < to; at += this.#batchRows)
      this.#read(indices, at, Math.min(at + this.#batchRows, to), target);
  }

  #read(indices: Uint32Array, from: number, to: number, target: RowTarget): void {
    const { patience } = this.#guard;
    patience.reset();
    for (;;) {
      const failed = this.#attempt(indices, from, to, target);
      if (failed === 0) return;
      if (failed > 0 && to - from > 1) {
        // One by one from now on: rows that are written all the time must not hold up each other.
        for (const at of this.#failed.slice(0, failed)) this.#read(indices, at, at + 1, target);
        return;
      }
      patience.pause();
    }
  }

  /** Number of rows that must be read again, which `#failed` lists; or -1: all. */
  #attempt(indices: Uint32Array, from: number, to: number, target: RowTarget): number {
    this.#guard.enter();
    this.#parts.open(target.unit);
    const local = this.#local;
    const seen = this.#seen;
    const parts = this.#partOfRow;
    const { shift } = this.#layout;
    for (let i = from; i < to; ) {
      const part = this.#parts.of(indices[i]!);
      if (part === undefined) return this.#missing(indices[i]!);
      const { firstRow, endRow, versions } = part;
      const mask = versions.length - 1;
      let row = indices[i]!;
      do {
        const k = i - from;
        local[k] = row - firstRow;
        seen[k] = versions[((row - firstRow) >>> shift) & mask]!;
        parts[k] = part;
        row = ++i < to ? indices[i]! : -1;
      } while (row >= firstRow && row < endRow);
    }
    fence();
    const count = to - from;
    for (let k = 0; k < count; ) {
      const part = parts[k]!;
      const start = k;
      while (k < count && parts[k] === part) k++;
      this.#copy(part, start, k, target, from);
    }
    fence();
    let failed = 0;
    for (let k = 0; k < count; k++) {
      const { versions } = parts[k]!;
      const now = versions[(local[k]! >>> shift) & (versions.length - 1)]!;
      if (now !== seen[k] || (now & 1) === 1) this.#failed[failed++] = from + k;
    }
    return this.#guard.left() ? failed : -1;
  }

  /** A row that is not there; unless rows and segments have changed since `enter`: then it is looked for again. */
  #missing(row: number): -1 {
    return this.#guard.left() ? this.#guard.refuse(row) : -1;
  }

  /** Copies rows `from` to `to` of the batch, whose places in the target are `at` further on. */
  #copy(part: Part, from: number, to: number, target: RowTarget, at: number): void {
    const size = this.#rowBytes / target.unit;
    const block = this.#guard.lazy ? this.#header.lazyOf(part.index) : 0;
    if (block === 0) {
      copyRows(part.source, target.units, this.#local, from, to, at, size);
      return;
    }
    const { memory, modelOffset } = part.segment;
    this.#lazyCopy.open(memory.buffer, block, modelOffset);
    for (let k = from; k < to; k++) {
      if (!this.#lazyCopy.copy(this.#local[k]!, target.values, at + k))
        copyRows(part.source, target.units, this.#local, k, k + 1, at, size);
    }
  }

  readRows(first: number, count: number, target: RowTarget): void {
    if (this.#rowBytes === 0) return;
    const rowsOfBlock = 2 ** this.#layout.shift;
    const { patience } = this.#guard;
    const end = first + count;
    patience.reset();
    for (let row = first; row < end; ) {
      this.#guard.enter();
      this.#parts.open(target.unit);
      if (this.#guard.lazy || rowsOfBlock * this.#rowBytes < WHOLE_BLOCK) {
        const some = Math.min(LISTED, Math.ceil(BATCH_BYTES / this.#rowBytes));
        const to = Math.min(end, row + some);
        row = this.#copyBlocks(row, to, row - first, target) ? to : this.#readListed(row, first, to, target);
        continue;
      }
      const part = this.#parts.of(row);
      if (part === undefined) {
        this.#missing(row);
        patience.pause();
        continue;
      }
      const { firstRow, endRow } = part;
      const block = Math.floor((row - firstRow) / rowsOfBlock);
      const blockEnd = Math.min(end, endRow, firstRow + (block + 1) * rowsOfBlock);
      if (this.#copyBlock(part, row, blockEnd, row - first, target)) {
        row = blockEnd;
        patience.reset();
      } else {
        patience.pause();
      }
    }
  }

  /** Copies rows of small blocks all at once, after `enter`; false where some must be copied again, or one by one. */
  #copyBlocks(row: number, end: number, at: number, target: RowTarget): boolean {
    const part = this.#parts.of(row);
    if (this.#guard.lazy || part === undefined || end > part.endRow) return false;
    const { firstRow, source, versions } = part;
    const { shift } = this.#layout;
    const mask = versions.length - 1;
    const from = (row - firstRow) >>> shift;
    const to = ((end - 1 - firstRow) >>> shift) + 1;
    const seen = this.#seenOfBlocks;
    let all = 0;
    for (let block = from; block < to; block++) {
      const word = versions[block & mask]!;
      seen[block - from] = word;
      all |= word;
    }
    if ((all & 1) === 1) return false;
    fence();
    const size = this.#rowBytes / target.unit;
    const rows = source.subarray((row - firstRow) * size, (end - firstRow) * size);
    (target.units as Int32Array).set(rows as Int32Array, at * size);
    fence();
    for (let block = from; block < to; block++)
      if (versions[block & mask] !== seen[block - from]) return false;
    return this.#guard.left();
  }

  #readListed(row: number, first: number, end: number, { values }: RowTarget): number {
    const { rowSize } = this.#layout;
    const part = values.subarray((row - first) * rowSize, (end - first) * rowSize);
    const indices = Uint32Array.from({ length: end - row }, (_, i) => row + i);
    this.gather(indices, 0, indices.length, targetOf(this.#layout, part));
    return end;
  }

  /** Copies rows that share a version word, after `enter`; false if they must be copied again. */
  #copyBlock(
    { firstRow, source, versions }: Part,
    row: number,
    end: number,
    at: number,
    target: RowTarget,
  ): boolean {
    const size = this.#rowBytes / target.unit;
    const word = ((row - firstRow) >>> this.#layout.shift) & (versions.length - 1);
    const seen = Atomics.load(versions, word);
    const rows = source.subarray((row - firstRow) * size, (end - firstRow) * size);
    (target.units as Int32Array).set(rows as Int32Array, at * size);
    return this.#guard.left() && (seen & 1) === 0 && Atomics.load(versions, word) === seen;
  }
}

/** The first row number that is at least `end`. */
function firstFrom(end: number, indices: Uint32Array): number | undefined {
  for (const row of indices) if (row >= end) return row;
  return undefined;
}
