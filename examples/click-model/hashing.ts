/**
 * Hashed row numbers: any string of any field gets a row of a table without a dictionary, also one that was never
 * seen before. Two may share a row; with enough buckets that is rare and costs little.
 */
export class HashedIds {
  readonly buckets: number;
  readonly #seed: number;

  constructor({ buckets, seed = 0 }: { readonly buckets: number; readonly seed?: number }) {
    if (!Number.isInteger(buckets) || buckets < 1 || buckets > 2 ** 31 - 1) {
      throw new RangeError(`buckets must be a whole number from 1 to 2^31 - 1, not ${buckets}`);
    }
    this.buckets = buckets;
    this.#seed = seed | 0;
  }

  /** The row of `id` in `field`: the same id in two fields has two rows. */
  rowOf(id: string, field = ""): number {
    // The zero between them keeps ("ab", "c") apart from ("a", "bc").
    const hash = fold(Math.imul(fold(this.#seed ^ 0x811c9dc5, field), 0x01000193), id);
    return (finish(hash) >>> 0) % this.buckets;
  }
}

/** FNV-1a over UTF-16 code units. */
function fold(start: number, text: string): number {
  let hash = start | 0;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

/** MurmurHash3's finaliser: FNV alone spreads short strings badly over the low bits. */
function finish(hash: number): number {
  let x = hash;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}
