import { ArgumentError } from "../errors/index.js";
import { checkOptions } from "../schedules/options.js";
import { hashString } from "./hash-string.js";
import { integerOption } from "./options.js";
import {
  highWord,
  type Id,
  type IdBatch,
  isIntegerIdArray,
  lowWord,
  notIds,
  rowsFor,
  wordsOfArray,
} from "./words.js";
import { digest, hashWords, multiplyHigh, type Words } from "./xxhash64.js";

/** What {@link HashedIds} is made of, and its config. */
export interface HashedIdsOptions {
  /** Number of rows that ids are hashed to, 1 to 4,294,967,295. */
  readonly buckets: number;
  /** Seed of the hash, an integer from 0 to 2^53 - 1. Default 0. */
  readonly seed?: number | undefined;
}

const NAMES = { buckets: "buckets", seed: "seed" } as const;
const LEAST_ID = -(2n ** 63n);
const MOST_ID = 2n ** 64n - 1n;

function checkId(argument: string, id: unknown): void {
  if (typeof id === "string" || Number.isSafeInteger(id)) return;
  if (typeof id === "bigint" && id >= LEAST_ID && id <= MOST_ID) return;
  const expected = "a string, a safe integer or a bigint from -2^63 to 2^64 - 1";
  throw new ArgumentError({ argument, received: id, expected });
}

/** Leaves the hash of an id in `digest`. */
function hashId(id: Id, seedLow: number, seedHigh: number): void {
  if (typeof id === "string") hashString(id, seedLow, seedHigh);
  else hashWords(lowWord(id), highWord(id), seedLow, seedHigh);
}

/** The bucket of the hash in `digest`: digest * buckets >> 64. */
function bucket(buckets: number): number {
  const high = digest[1]!;
  const carried = multiplyHigh(digest[0]!, buckets);
  const middle = (Math.imul(high, buckets) + carried) | 0;
  return (multiplyHigh(high, buckets) + (middle >>> 0 < carried >>> 0 ? 1 : 0)) >>> 0;
}

/**
 * Maps ids to the rows of an embedding table by a hash, without remembering them: the "hashing trick". Ids that
 * meet in one row share its embedding. The mapping is fixed: it is the same in every version, process and machine.
 *
 * The hash is xxHash64 of these bytes:
 * - a string: its UTF-8 bytes (half of a surrogate pair counts as U+FFFD, as in `TextEncoder`);
 * - an integer: 8 bytes, two's complement, least significant byte first. So 5 and 5n are the same id, and so are
 *   -1n and 2n ** 64n - 1n; "5" is another.
 *
 * The seed of the hash is `seed`, or, for an id with a field (the feature it is a value of, such as "country"), the
 * 64-bit hash of the field, itself made from the field's bytes in the same way and with `seed`. The row is
 * `hash * buckets >> 64`, without rounding: a bucket's share differs from 1 / `buckets` by less than 2^-64, while a
 * remainder of a 32-bit hash would favour some of 10^9 buckets by a quarter.
 *
 * In Python: `xxhash.xxh64_intdigest(data, seed) * buckets >> 64`.
 *
 * Sources: xxHash fast digest algorithm, format specification 0.1.1; Weinberger et al., "Feature Hashing for Large
 * Scale Multitask Learning", 2009; Lemire, "Fast Random Integer Generation in an Interval", 2019.
 *
 * @throws {OptionError} for options that are unknown or out of bounds.
 * @example
 * import { HashedIds } from "@shardgrad/core";
 *
 * const hashed = new HashedIds({ buckets: 1000, seed: 1 });
 * console.log(hashed.rowOf("user-42"), hashed.rowOf(42), hashed.rowOf(42n)); // 549 375 375
 * console.log(hashed.rowOf(42, "age") === hashed.rowOf(42, "zip")); // false
 * console.log(hashed.rows(BigInt64Array.of(42n, 43n))); // Uint32Array(2) [ 375, 359 ]
 * const same = HashedIds.fromConfig(hashed.getConfig());
 * console.log(same.rowOf("user-42") === hashed.rowOf("user-42")); // true
 */
export class HashedIds {
  /** Number of rows that ids are hashed to. */
  readonly buckets: number;
  /** Seed of the hash. */
  readonly seed: number;

  constructor(options: HashedIdsOptions) {
    checkOptions("HashedIds", options, NAMES);
    this.buckets = integerOption("buckets", options.buckets, 1, 2 ** 32 - 1);
    this.seed = integerOption("seed", options.seed ?? 0, 0, Number.MAX_SAFE_INTEGER);
  }

  /**
   * The row of one id, from 0 to `buckets` - 1.
   *
   * @param field - what the id is a value of; the same id of two fields has independent rows
   * @throws {ArgumentError} for an id or field that is no string, safe integer or 64-bit bigint.
   */
  rowOf(id: Id, field?: Id): number {
    checkId("id", id);
    const { low, high } = this.#seedOf(field);
    hashId(id, low, high);
    return bucket(this.buckets);
  }

  /**
   * The row of each id, a Uint32Array that serves as `indices` of a sparse gradient.
   *
   * @param out - array for the rows, of the length of `ids`; default a new one
   * @param field - what the ids are values of
   * @throws {ArgumentError} for ids or a field as above, and an `out` of another type (DtypeError) or length
   *   (ShapeError); nothing has been written then.
   */
  rows(ids: IdBatch, out?: Uint32Array, field?: Id): Uint32Array {
    if (isIntegerIdArray(ids)) {
      const rows = rowsFor(out, ids, Uint32Array);
      const { low, high } = this.#seedOf(field);
      const words = wordsOfArray(ids);
      const { buckets } = this;
      for (let i = 0; i < rows.length; i++) {
        hashWords(words[2 * i]!, words[2 * i + 1]!, low, high);
        rows[i] = bucket(buckets);
      }
      return rows;
    }
    if (!Array.isArray(ids)) throw notIds(ids);
    const rows = rowsFor(out, ids, Uint32Array);
    for (let i = 0; i < ids.length; i++) {
      const id: unknown = ids[i];
      if (typeof id !== "string") checkId(`ids[${i}]`, id);
    }
    const { low, high } = this.#seedOf(field);
    const { buckets } = this;
    for (let i = 0; i < rows.length; i++) {
      hashId(ids[i]!, low, high);
      rows[i] = bucket(buckets);
    }
    return rows;
  }

  /** The options, as plain data. */
  getConfig(): { buckets: number; seed: number } {
    return { buckets: this.buckets, seed: this.seed };
  }

  /**
   * The mapping that a config describes.
   *
   * @throws {OptionError} as the constructor.
   */
  static fromConfig(config: HashedIdsOptions): HashedIds {
    return new HashedIds(config);
  }

  #seedOf(field: Id | undefined): Words {
    const seed = { low: lowWord(this.seed), high: highWord(this.seed) };
    if (field === undefined) return seed;
    checkId("field", field);
    hashId(field, seed.low, seed.high);
    return { low: digest[0]!, high: digest[1]! };
  }
}
