import {
  type AveragePlan,
  type Block,
  type Home,
  LAZY_BLOCK_BYTES,
  lazyNumbers,
  lazyWords,
  type MemoryPool,
  powerTable,
  type StepPlan,
} from "@shardgrad/workers";
import { catchUpOf } from "./catch-up.js";
import { follow, type PreparedRows, type RowFollower, type RowResize } from "./followers.js";
import { variableInternals } from "./internals.js";
import { overwriteListLength } from "./lazy-room.js";
import type { StorageSegment } from "./segments.js";
import type { Variable } from "./variable.js";
import { writeNow } from "./writes.js";

export interface LazyAverageOptions {
  /** As the optimizer was given it. */
  readonly momentum: number;
  /** Whether rows will ever take their averages' values. */
  readonly overwrites: boolean;
  /** Where the clock starts; for tests. */
  readonly clock?: number;
}

/** The clock is a u32 of the kernels; it starts anew long before it would wrap. */
const CLOCK_LIMIT = 2 ** 31;

interface LazySegment {
  readonly home: Home;
  readonly block: Block;
  readonly last: Block;
  readonly words: Uint32Array;
  /** One element a row: views `last` as far as there are rows. */
  readonly rows: Uint32Array;
}

/**
 * The average of a table that is brought up to date row by row, when a step touches the row or somebody reads it. What
 * kernels and readers know of it lies in shared memory: see lazy-block.ts of @shardgrad/workers.
 *
 * Readers on other threads load the clock first. So whatever a new clock makes true is stored before it: the floor, an
 * overwrite, then their count, then the clock; all with sequentially consistent stores, by the calling thread only.
 */
export class LazyAverage implements RowFollower {
  readonly variable: Variable;
  readonly average: Variable;
  readonly #memory: MemoryPool;
  #segments: readonly LazySegment[] = [];
  #freed = false;
  readonly #listLength: number;
  #clock: number;
  #floor: number;
  #overwrites = 0;
  /** Whether threads bring the table up to date now, which nobody else may do meanwhile. */
  passing = false;

  /** @throws MemoryExhaustedError: nothing has changed */
  constructor(memory: MemoryPool, variable: Variable, average: Variable, options: LazyAverageOptions) {
    const { momentum, overwrites, clock = 0 } = options;
    this.variable = variable;
    this.average = average;
    this.#clock = clock;
    this.#floor = clock;
    const internals = variable[variableInternals];
    const rows = internals.rowSize === 0 ? 0 : variable.size / internals.rowSize;
    this.#listLength = overwrites ? overwriteListLength(rows) : 0;
    this.#memory = memory;
    this.#segments = this.#make(internals.storage.segments);
    this.#describe(this.#segments, momentum);
    internals.lazy = this;
    average[variableInternals].lazy = this;
    this.#tellReaders();
    const unfollow = follow(variable, this);
    average[variableInternals].storage.onFree(() => {
      internals.lazy = undefined;
      unfollow();
      this.#freed = true;
      const segments = this.#segments;
      this.#segments = [];
      this.#tellReaders(segments.length);
      this.#free(segments);
    });
  }

  /** @param before - segments that there were before */
  #tellReaders(before = 0): void {
    const both = [this.variable, this.average];
    const count = Math.max(before, this.#segments.length);
    writeNow(both, () => {
      for (const array of both) {
        const { header } = array[variableInternals];
        for (let i = 0; i < count; i++) header.setLazy(i, this.#segments[i]?.block.offset ?? 0);
      }
    });
  }

  /** Averages of the table until now. */
  get clock(): number {
    return this.#clock;
  }

  /** Whether the table was disposed of, or the average is gone: the memory may be another's. */
  get isOver(): boolean {
    return this.#freed || this.variable.disposed;
  }

  /** Whether some rows are not up to date. */
  get behind(): boolean {
    return this.#floor < this.#clock;
  }

  /** Whether the table must be caught up before the next step, for there is no room to note more. */
  get full(): boolean {
    return this.#clock >= CLOCK_LIMIT || (this.#listLength > 0 && this.#overwrites === this.#listLength);
  }

  /** Byte offset of the block of a segment. */
  offset(segment: number): number {
    return this.#segments[segment]!.block.offset;
  }

  /** Before a step runs: what its kernels do with the averages of the rows that they touch. */
  begin({ overwrite }: AveragePlan): void {
    for (const { words } of this.#segments) words[lazyWords.kind] = overwrite ? 2 : 1;
  }

  /** After a step: it touched all rows, or some. */
  stepped({ overwrite }: AveragePlan, allRows: boolean): void {
    this.#clock++;
    if (allRows) this.caughtUp();
    else if (overwrite) this.#overwrites++;
    for (const { words } of this.#segments) {
      if (!allRows && overwrite) {
        const at = (LAZY_BLOCK_BYTES >> 2) + this.#overwrites - 1;
        Atomics.store(words, at, this.#clock);
        Atomics.store(words, lazyWords.overwrites, this.#overwrites);
      }
      Atomics.store(words, lazyWords.clock, this.#clock);
    }
  }

  /**
   * All rows are up to date: those of a clock that has not been published yet included.
   * @param clock - when they were brought up to date: a synchronous step may have come in between
   */
  caughtUp(clock = this.#clock): void {
    if (clock < this.#floor || clock > this.#clock) return;
    this.#floor = clock;
    const isNow = clock === this.#clock;
    if (isNow) this.#overwrites = 0;
    for (const { words } of this.#segments) {
      Atomics.store(words, lazyWords.floor, this.#floor);
      Atomics.store(words, lazyWords.overwrites, this.#overwrites);
    }
    if (isNow && this.#clock >= CLOCK_LIMIT) this.#restart();
  }

  /** Counts from 0 again. While the clock is 0 every row counts as up to date, which they are. */
  #restart(): void {
    this.#clock = 0;
    this.#floor = 0;
    for (const { words, rows } of this.#segments) {
      Atomics.store(words, lazyWords.clock, 0);
      Atomics.store(words, lazyWords.floor, 0);
      rows.fill(0);
    }
  }

  /** What brings all rows up to date; `caughtUp` with the clock before it must follow. */
  get plan(): StepPlan {
    return {
      updates: [catchUpOf(this.variable, this)],
      clip: { kind: "none" },
      average: null,
      elements: this.variable.size,
    };
  }

  /**
   * New rows are up to date: their averages are copies. That is noted at the end, as a synchronous step may move the
   * clock while they are being filled.
   */
  prepare({ plan: { kept, segments } }: RowResize): PreparedRows {
    const made = this.#make(segments.slice(kept));
    const discard = () => this.#free(made);
    const commit = () => {
      if (this.#freed) return discard();
      const old = this.#segments;
      const stay = old.slice(0, kept).map((segment, i) => this.#withRows(segment, segments[i]!));
      for (const { words } of made) words.set(old[0]!.words);
      this.#segments = [...stay, ...made];
      // The average, an earlier follower, has its new segments by now.
      this.#describe(this.#segments);
      this.#segments.forEach(({ rows }, i) => {
        rows.fill(this.#clock, i < kept ? Math.min(old[i]!.rows.length, rows.length) : 0);
      });
      this.#tellReaders(old.length);
      this.#free(old.slice(kept));
    };
    return { fills: [], commit, discard };
  }

  /** Zeroed blocks beside segments of the variable. @throws MemoryExhaustedError */
  #make(segments: readonly StorageSegment[]): LazySegment[] {
    const made: LazySegment[] = [];
    try {
      for (const segment of segments) made.push(this.#makeBeside(segment));
    } catch (error) {
      this.#free(made);
      throw error;
    }
    return made;
  }

  #makeBeside(segment: StorageSegment): LazySegment {
    const { home, count, room } = segment;
    const memory = this.#memory;
    const block = memory.allocateAt(home, LAZY_BLOCK_BYTES + 4 * this.#listLength);
    let last: Block;
    try {
      last = memory.allocateAt(home, 4 * this.#rowsOf(room.capacity), 4 * this.#rowsOf(count));
    } catch (error) {
      memory.releaseAt(home, block);
      throw error;
    }
    const words = new Uint32Array(memory.bufferOf(home.arena), block.offset, block.byteLength / 4);
    return this.#withRows({ home, block, last, words }, segment);
  }

  #withRows(lazy: Omit<LazySegment, "rows">, { count }: StorageSegment): LazySegment {
    return { ...lazy, rows: new Uint32Array(lazy.words.buffer, lazy.last.offset, this.#rowsOf(count)) };
  }

  #rowsOf(elements: number): number {
    const { rowSize } = this.variable[variableInternals];
    return rowSize === 0 ? 0 : elements / rowSize;
  }

  /** Writes where everything lies, and at first what else a block says. */
  #describe(segments: readonly LazySegment[], momentum?: number): void {
    const averages = this.average[variableInternals].storage.segments;
    segments.forEach(({ block, last, words }, i) => {
      words[lazyWords.average] = averages[i]!.block.offset;
      words[lazyWords.last] = last.offset;
      words[lazyWords.list] = block.offset + LAZY_BLOCK_BYTES;
      if (momentum === undefined) return;
      words[lazyWords.clock] = this.#clock;
      words[lazyWords.floor] = this.#floor;
      const numbers = new Float64Array(words.buffer, block.offset, LAZY_BLOCK_BYTES / 8);
      // Not rounded to the dtype: kernels round what they use, and so the factors of many averages sum to 1.
      numbers[lazyNumbers.momentum] = momentum;
      numbers[lazyNumbers.complement] = 1 - momentum;
      numbers.set(powerTable(momentum), lazyNumbers.powers);
    });
  }

  #free(segments: readonly LazySegment[]): void {
    for (const { home, block, last } of segments) {
      this.#memory.releaseAt(home, block);
      this.#memory.releaseAt(home, last);
    }
  }
}
