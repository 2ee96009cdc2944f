import { type DType, doubleFromHalf, halfFromDouble } from "@shardgrad/workers";

/**
 * A lazy block, by which an average catches up only when its row is touched. Byte offsets from its start; it lies in the
 * segment's memory. Every row has a word `last`, the clock up to which it has caught up.
 */
export const lazyBlock = {
  /** u32: updates of the average so far. */
  clock: 0,
  /** u32: no row is behind this clock. */
  floor: 4,
  /** u32: overwrites in the list. */
  overwrites: 8,
  /** u32 byte offsets in the segment's memory. */
  average: 16,
  last: 20,
  /** Of a list of u32, ascending: the clocks of the overwrites. */
  list: 24,
  /** f64, rounded to the dtype. */
  momentum: 32,
  complement: 40,
  /** f64[4][256]: momentum ^ (b * 256 ^ i). */
  powers: 64,
} as const;

/** How far a row is behind. */
export const CURRENT = 0;
/** Its average is; the variable is not. */
export const AVERAGE_BEHIND = 1;
/** An overwrite is due, by which both take the average's value. */
export const OVERWRITE_DUE = 2;

const roundings: Readonly<Record<DType, (value: number) => number>> = {
  float32: Math.fround,
  float64: (value) => value,
  float16: (value) => doubleFromHalf(halfFromDouble(value)),
};

/**
 * Rows as a catch-up would leave them, without writing anything and with the kernels' roundings.
 *
 * Order: `open` loads the clock before anything else. A running step writes `last` = clock + 1 under the row's version
 * word, and afterwards the list, its length and the clock. So an overwrite later than the loaded clock does not count,
 * a row whose `last` is later is current, and each row is as before the step or as after it. Everything else changes
 * only under the variable's whole-variable word, by which the caller sees it.
 */
export class LazyRows {
  readonly #round: (value: number) => number;
  #words: Uint32Array = none32;
  #doubles: Float64Array = none64;
  #clock = 0;
  #floor = 0;
  #overwrites = 0;
  #last = 0;
  #list = 0;
  #powers = 0;
  #momentum = 0;
  #complement = 0;
  #steps = -1;
  #p = 0;
  #q = 0;
  /** Byte offset of the average's elements in the segment's memory. */
  average = 0;

  constructor(dtype: DType) {
    this.#round = roundings[dtype];
  }

  /**
   * @param words, doubles - the whole memory
   * @param block - byte offset of the lazy block
   */
  open(words: Uint32Array, doubles: Float64Array, block: number): void {
    const at = block / 4;
    this.#words = words;
    this.#doubles = doubles;
    this.#clock = Atomics.load(words, at + lazyBlock.clock / 4);
    this.#overwrites = Atomics.load(words, at + lazyBlock.overwrites / 4);
    this.#floor = Atomics.load(words, at + lazyBlock.floor / 4);
    this.average = words[at + lazyBlock.average / 4]!;
    this.#last = words[at + lazyBlock.last / 4]! / 4;
    this.#list = words[at + lazyBlock.list / 4]! / 4;
    this.#powers = (block + lazyBlock.powers) / 8;
    this.#momentum = doubles[(block + lazyBlock.momentum) / 8]!;
    this.#complement = doubles[(block + lazyBlock.complement) / 8]!;
    this.#steps = -1;
  }

  /** How far a row, counted from the segment's first, is behind; `caughtUp` is about it afterwards. */
  look(row: number): typeof CURRENT | typeof AVERAGE_BEHIND | typeof OVERWRITE_DUE {
    const last = Math.max(this.#words[this.#last + row]!, this.#floor);
    if (last >= this.#clock) return CURRENT;
    const overwrite = this.#firstOverwriteAfter(last);
    this.#prepare((overwrite ?? this.#clock) - last);
    return overwrite === undefined ? AVERAGE_BEHIND : OVERWRITE_DUE;
  }

  /** The average's element after the updates that the row has missed. */
  caughtUp(average: number, variable: number): number {
    const round = this.#round;
    return round(round(this.#p * average) + round(this.#q * variable));
  }

  /** By bisection. A clock beyond the loaded one belongs to a step that is not over. */
  #firstOverwriteAfter(last: number): number | undefined {
    let low = 0;
    let high = this.#overwrites;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#words[this.#list + middle]! > last) high = middle;
      else low = middle + 1;
    }
    if (low >= this.#overwrites) return undefined;
    const clock = this.#words[this.#list + low]!;
    return clock <= this.#clock ? clock : undefined;
  }

  /** The factors of average and variable after so many updates: momentum^k, and complement times its geometric sum. */
  #prepare(steps: number): void {
    if (steps === this.#steps) return;
    this.#steps = steps;
    const at = this.#powers;
    let p = this.#doubles[at + (steps & 255)]!;
    for (let i = 1; i < 4; i++) p *= this.#doubles[at + 256 * i + ((steps >>> (8 * i)) & 255)]!;
    const m = this.#momentum;
    const q = this.#complement * (m === 1 ? steps : (1 - p) / (1 - m));
    this.#p = this.#round(p);
    this.#q = this.#round(q);
  }
}

const none32 = new Uint32Array(0);
const none64 = new Float64Array(0);
