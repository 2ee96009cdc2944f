/** mulberry32: the same numbers for the same seed, on every machine. */
export class Random {
  #state;

  /** @param {number} seed */
  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  }

  /** An integer from 0 to below `end`. @param {number} end */
  below(end) {
    return Math.floor(this.next() * end);
  }

  /** An integer from 0 to below `end`, k with a chance of about 1 / (k + 1): Zipf's law. @param {number} end */
  zipf(end) {
    return Math.min(end - 1, Math.floor((end + 1) ** this.next()) - 1);
  }
}
