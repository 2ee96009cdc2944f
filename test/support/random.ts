/** A small generator (mulberry32): the same numbers for the same seed, on every machine. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** An integer from 0 to below `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  /** Numbers in (-scale, scale). */
  values(count: number, scale = 2): Float64Array {
    return Float64Array.from({ length: count }, () => (this.next() * 2 - 1) * scale);
  }

  /** `count` numbers from 0 to below `end`, repeated or not. */
  indices(count: number, end: number, unique: boolean): number[] {
    if (!unique) return Array.from({ length: count }, () => this.below(end));
    const all = Array.from({ length: end }, (_, i) => i);
    for (let i = all.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [all[i], all[j]] = [all[j]!, all[i]!];
    }
    return all.slice(0, count);
  }
}
