import { type DType, doubleFromHalf, halfFromDouble, lazyNumbers, lazyWords } from "@shardgrad/workers";

/** How far a row is behind. */
export const CURRENT = 0;
/** Its average is; the variable is not. */
export const AVERAGE_BEHIND = 1;
/** An overwrite is due, by which both take the average's value. */
export const OVERWRITE_DUE = 2;

/** A number rounded once to a dtype. */
export const roundings: Readonly<Record<DType, (value: number) => number>> = {
  float32: Math.fround,
  float64: (value) => value,
  float16: (value) => doubleFromHalf(halfFromDouble(value)),
};

/**
 * Rows whose averages are kept lazily as a catch-up would leave them, without writing anything and with the kernels'
 * roundings. The layout of a lazy block is in the workers' plan/lazy-block.ts.
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
    const word = block / 4;
    const number = block / 8;
    this.#words = words;
    this.#doubles = doubles;
    this.#clock = Atomics.load(words, word + lazyWords.clock);
    this.#overwrites = Atomics.load(words, word + lazyWords.overwrites);
    this.#floor = Atomics.load(words, word + lazyWords.floor);
    this.average = words[word + lazyWords.average]!;
    this.#last = words[word + lazyWords.last]! / 4;
    this.#list = words[word + lazyWords.list]! / 4;
    this.#powers = number + lazyNumbers.powers;
    this.#momentum = doubles[number + lazyNumbers.momentum]!;
    this.#complement = doubles[number + lazyNumbers.complement]!;
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

  /** The factors of what the row of the last `look` has missed, up to an overwrite, if there is one. */
  get missed(): { readonly p: number; readonly q: number } {
    return { p: this.#p, q: this.#q };
  }

  /** The average's element after the updates that the row has missed. */
  caughtUp(average: number, variable: number): number {
    const round = this.#round;
    return round(round(this.#p * average) + round(this.#q * variable));
  }

  /**
   * By bisection, which ends whatever the words hold: memory that is somebody else's by now is read, too, and then the row
   * again. A clock beyond the loaded one belongs to a step that is not over.
   */
  #firstOverwriteAfter(last: number): number | undefined {
    let low = 0;
    let high = this.#overwrites;
    while (low < high) {
      const middle = low + ((high - low) >>> 1);
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
