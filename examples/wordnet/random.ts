/** Seeded random numbers, so that a run can be repeated exactly: Math.random has no seed. */

/** Mixes one 32-bit word into another (the finaliser of MurmurHash3). */
function mix(state: number, word: number): number {
  let x = (state ^ word) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return ((x ^ (x >>> 16)) + 0x9e3779b9) | 0;
}

/** sfc32 (Chris Doty-Humphrey's small fast counting generator): 128 bits of state, passes PractRand. */
export class Random {
  #a = 0;
  #b = 0;
  #c = 0;
  #counter = 1;

  /** Streams of different words, say (seed, step, shard), are independent for all practical purposes. */
  constructor(...words: number[]) {
    let state = 0x2545f491;
    for (const word of words) state = mix(state, word | 0);
    this.#a = mix(state, 1);
    this.#b = mix(state, 2);
    this.#c = mix(state, 3);
    for (let i = 0; i < 12; i++) this.uint32();
  }

  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** A whole number from 0 up to, not including, `bound`. */
  below(bound: number): number {
    return Math.floor((this.uint32() / 4294967296) * bound);
  }

  /** Fisher-Yates, in place. */
  shuffle(array: Int32Array): void {
    for (let i = array.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const swap = array[i]!;
      array[i] = array[j]!;
      array[j] = swap;
    }
  }
}
