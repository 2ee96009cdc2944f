import { IdIndex } from "./id-index.js";
import type { IdList, Keys, LoadedIds } from "./keys.js";

/** The rows of a map as a saved state has them. */
export interface SavedRows {
  /** The rows in use, ascending. */
  readonly rows: Uint32Array;
  /** The id of each of these. */
  readonly rowIds: IdList;
  /** The step at which each was used last. */
  readonly rowSteps: Uint32Array;
  /** Rows that were in use once and are free, the next one to be given out last. */
  readonly freeRows: Uint32Array;
}

/** The rows of a map: which id each belongs to, when it was used last, and which are free. */
export class RowTable<Batch> {
  index: IdIndex<Batch>;
  #capacity: number;
  /** By row: the step of its last use + 1, or 0 if it is free. */
  #used: Uint32Array;
  /** Rows below this one have been in use. */
  #taken = 0;
  /** Those of them that are free, as a stack. */
  #free = new Uint32Array(0);
  #freeCount = 0;

  constructor(keys: Keys<Batch>, capacity: number) {
    this.index = new IdIndex(keys, capacity);
    this.#capacity = capacity;
    this.#used = new Uint32Array(capacity);
  }

  get capacity(): number {
    return this.#capacity;
  }

  get size(): number {
    return this.#taken - this.#freeCount;
  }

  get full(): boolean {
    return this.#freeCount === 0 && this.#taken === this.#capacity;
  }

  isFree(row: number): boolean {
    return this.#used[row] === 0;
  }

  /** Gives a free row to id `i` of a batch. */
  take(hash: number, batch: Batch, i: number): number {
    const row = this.#freeCount > 0 ? this.#free[--this.#freeCount]! : this.#taken++;
    this.index.insert(hash, batch, i, row);
    return row;
  }

  /** Marks a row as used at a step. */
  use(row: number, step: number): void {
    this.#used[row] = step + 1;
  }

  /** The rows used last at `step` or before, ascending. */
  usedUntil(step: number): Uint32Array {
    const used = this.#used;
    let count = 0;
    for (let row = 0; row < this.#taken; row++) if (used[row] !== 0 && used[row]! - 1 <= step) count++;
    const rows = new Uint32Array(count);
    for (let row = this.#taken - 1; count > 0; row--) {
      if (used[row] !== 0 && used[row]! - 1 <= step) rows[--count] = row;
    }
    return rows;
  }

  /** Makes rows free, given in ascending order; the lowest is given out first. */
  release(rows: Uint32Array): void {
    const freeCount = this.#freeCount + rows.length;
    if (freeCount > this.#free.length) {
      const free = new Uint32Array(Math.min(this.#taken, 2 * freeCount));
      free.set(this.#free);
      this.#free = free;
    }
    for (let i = rows.length - 1; i >= 0; i--) {
      const row = rows[i]!;
      this.index.remove(row);
      this.#used[row] = 0;
      this.#free[this.#freeCount++] = row;
    }
  }

  /** Makes room for more rows; nothing changes if there is no memory. */
  grow(capacity: number): void {
    const used = new Uint32Array(capacity);
    used.set(this.#used);
    this.index = this.index.grown(capacity);
    this.#used = used;
    this.#capacity = capacity;
  }

  save(): SavedRows {
    const rows = this.usedUntil(Infinity);
    return {
      rows,
      rowIds: this.index.keys.save(rows),
      rowSteps: rows.map((row) => this.#used[row]! - 1),
      freeRows: this.#free.slice(0, this.#freeCount),
    };
  }

  /** Takes in what was saved, into an empty table; false if an id comes twice. */
  load({ rows, rowSteps, freeRows }: SavedRows, { batch, length }: LoadedIds<Batch>): boolean {
    const { index } = this;
    for (let i = 0; i < length; i++) {
      const hash = index.keys.hashOf(batch, i);
      if (index.find(hash, batch, i) >= 0) return false;
      index.insert(hash, batch, i, rows[i]!);
      this.use(rows[i]!, rowSteps[i]!);
    }
    this.#free = freeRows.slice();
    this.#freeCount = freeRows.length;
    this.#taken = length + freeRows.length;
    return true;
  }
}
