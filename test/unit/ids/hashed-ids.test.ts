import { ArgumentError, DtypeError, HashedIds, type Id, OptionError, ShapeError } from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import xxhash from "xxhash-wasm";

const { h64, h64Raw } = await xxhash();

/** The row that the documentation promises for the hash of some bytes. */
function bucketOf(hash: bigint, buckets: number): number {
  return Number((hash * BigInt(buckets)) >> 64n);
}

function bytesOf(id: bigint): Uint8Array {
  return new Uint8Array(BigInt64Array.of(id).buffer);
}

/** A hash in 2^32 - 1 buckets is its upper half, less 1 for most: enough to tell hashes apart. */
const MOST = 2 ** 32 - 1;

describe("the hash", () => {
  // Published for XXH64 with seed 0; `xxhsum -H64` prints the same.
  test.each([
    ["", 0xef46db3751d8e999n],
    ["a", 0xd24ec4f1a98c6e5bn],
    ["abc", 0x44bc2cf5ad770999n],
    ["message digest", 0x066ed728fceeb3ben],
    ["The quick brown fox jumps over the lazy dog", 0x0b242d361fda71bcn],
    ["Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1n],
  ])("of %j is the published one", (text, hash) => {
    expect(h64(text)).toBe(hash);
    for (const buckets of [1, 2, 10, 1_000_003, 2 ** 31, MOST]) {
      expect(new HashedIds({ buckets }).rowOf(text)).toBe(bucketOf(hash, buckets));
    }
  });

  // The first of the vectors in xxHash's own sanity check.
  test.each([
    [0, 0xef46db3751d8e999n],
    [2654435761, 0xac75fda2929b17efn],
  ])("of nothing with seed %d is the published one", (seed, hash) => {
    expect(new HashedIds({ buckets: MOST, seed }).rowOf("")).toBe(bucketOf(hash, MOST));
  });

  test("of strings of any length, ASCII and not, is that of their UTF-8 bytes", () => {
    const hashed = new HashedIds({ buckets: MOST, seed: 2 ** 53 - 1 });
    const lengths = [...Array(130).keys(), 1000, 21_845, 21_846, 70_000];
    for (const unit of ["a", "é", "漢", "🦊", "z\0é"]) {
      for (const length of lengths) {
        const text = unit.repeat(length);
        expect(hashed.rowOf(text), `${length} times ${unit}`).toBe(
          bucketOf(h64(text, BigInt(hashed.seed)), MOST),
        );
      }
    }
    expect(hashed.rowOf("\ud83e")).toBe(hashed.rowOf("\ufffd"));
  });

  test("of integers is that of their 8 bytes", () => {
    const hashed = new HashedIds({ buckets: MOST, seed: 7 });
    for (const id of [0n, 1n, -1n, 255n, 2n ** 32n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 64n - 1n]) {
      expect(hashed.rowOf(id), `${id}`).toBe(bucketOf(h64Raw(bytesOf(id), 7n), MOST));
    }
  });

  test("of a field is the seed of its ids", () => {
    const hashed = new HashedIds({ buckets: 1000, seed: 3 });
    expect(hashed.rowOf("Rome", "city")).toBe(bucketOf(h64("Rome", h64("city", 3n)), 1000));
    expect(hashed.rowOf(5, "age")).toBe(bucketOf(h64Raw(bytesOf(5n), h64("age", 3n)), 1000));
    expect(hashed.rowOf(5, 9)).toBe(bucketOf(h64Raw(bytesOf(5n), h64Raw(bytesOf(9n), 3n)), 1000));
    expect(hashed.rowOf(5, "")).not.toBe(hashed.rowOf(5));
  });
});

describe("lists", () => {
  const hashed = new HashedIds({ buckets: 50_000 });
  const lists: Record<string, readonly Id[] | BigInt64Array | BigUint64Array | Int32Array | Uint32Array> = {
    mixed: ["a", 1, 2n, -3, "", -0, Number.MIN_SAFE_INTEGER, 2 ** 40 + 1],
    empty: [],
    BigInt64Array: BigInt64Array.of(0n, -1n, 2n ** 62n, -(2n ** 63n)),
    BigUint64Array: BigUint64Array.of(0n, 2n ** 63n, 2n ** 64n - 1n),
    Int32Array: Int32Array.of(0, -1, 2 ** 31 - 1, -(2 ** 31)),
    Uint32Array: Uint32Array.of(0, 1, 2 ** 31, MOST),
    "a part of an array": new BigInt64Array(BigInt64Array.of(1n, 2n, 3n).buffer, 8, 1),
  };

  test.each(Object.entries(lists))("%s: the same rows as one by one", (_, ids) => {
    const rows = hashed.rows(ids);
    expect(rows).toEqual(Uint32Array.from([...ids], (id) => hashed.rowOf(id)));
    const out = new Uint32Array(ids.length);
    expect(hashed.rows(ids, out)).toBe(out);
    expect(out).toEqual(rows);
    const ofField = Uint32Array.from([...ids], (id) => hashed.rowOf(id, "f"));
    expect(hashed.rows(ids, undefined, "f")).toEqual(ofField);
  });

  test("a number and the bigint of the same value have the same row", () => {
    for (const id of [0, 1, -1, 2 ** 31, -(2 ** 31) - 1, 2 ** 52, -(2 ** 53) + 1]) {
      expect(hashed.rowOf(id)).toBe(hashed.rowOf(BigInt(id)));
    }
  });
});

test("consecutive ids spread as random ones do", () => {
  const buckets = 1000;
  const ids = Uint32Array.from({ length: 200_000 }, (_, i) => i);
  const counts = new Float64Array(buckets);
  for (const row of new HashedIds({ buckets }).rows(ids)) counts[row]!++;
  const expected = ids.length / buckets;
  const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  // 999 degrees of freedom: mean 999, standard deviation 45
  expect(chiSquare).toBeGreaterThan(999 - 4 * 45);
  expect(chiSquare).toBeLessThan(999 + 4 * 45);
});

test("the config goes through JSON", () => {
  const hashed = new HashedIds({ buckets: 77, seed: 5 });
  expect(hashed.getConfig()).toEqual({ buckets: 77, seed: 5 });
  expect(HashedIds.fromConfig(JSON.parse(JSON.stringify(hashed.getConfig())))).toEqual(hashed);
  expect(new HashedIds({ buckets: 1 }).getConfig()).toEqual({ buckets: 1, seed: 0 });
});

describe("refused", () => {
  test.each([
    [{ buckets: 0 }, "buckets"],
    [{ buckets: 2 ** 32 }, "buckets"],
    [{ buckets: 1.5 }, "buckets"],
    [{}, "buckets"],
    [{ buckets: 1, seed: -1 }, "seed"],
    [{ buckets: 1, seed: 2 ** 53 }, "seed"],
    [{ buckets: 1, seeds: 1 }, "seeds"],
    [null, "options"],
  ])("options %o", (options, argument) => {
    const make = () => new HashedIds(options as never);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(expect.objectContaining({ argument }));
  });

  const hashed = new HashedIds({ buckets: 10 });

  test.each([1.5, 2 ** 53, Number.NaN, 2n ** 64n, -(2n ** 63n) - 1n, null, undefined, true, {}])(
    "the id %s, before anything is written",
    (id) => {
      expect(() => hashed.rowOf(id as never)).toThrow(expect.objectContaining({ argument: "id" }));
      const out = new Uint32Array(2).fill(99);
      const list = () => hashed.rows([1, id as never], out);
      expect(list).toThrow(ArgumentError);
      expect(list).toThrow(expect.objectContaining({ argument: "ids[1]", received: id }));
      expect(out).toEqual(Uint32Array.of(99, 99));
      if (id === undefined) return;
      const field = () => hashed.rows([1, 2], out, id as never);
      expect(field).toThrow(expect.objectContaining({ argument: "field" }));
      expect(out).toEqual(Uint32Array.of(99, 99));
    },
  );

  test("what is no list of ids, and what is no place for rows", () => {
    for (const ids of [null, "abc", 5, new Float64Array(1), new Set([1])]) {
      expect(() => hashed.rows(ids as never)).toThrow(expect.objectContaining({ argument: "ids" }));
    }
    expect(() => hashed.rows([1], new Int32Array(1) as never)).toThrow(DtypeError);
    expect(() => hashed.rows([1], [0] as never)).toThrow(DtypeError);
    expect(() => hashed.rows([1], new Uint32Array(2))).toThrow(ShapeError);
    // Rows written over ids that have not been read yet would be rows of something else.
    const ids = new BigInt64Array(4).fill(7n);
    for (const start of [4, 8, 20]) {
      const over = new Uint32Array(ids.buffer, start, 2);
      expect(() => hashed.rows(ids.subarray(1, 3), over)).toThrow(
        expect.objectContaining({ argument: "out" }),
      );
    }
    const beside = new Uint32Array(ids.buffer, 8, 1);
    expect(hashed.rows(ids.subarray(0, 1), beside)[0]).toBe(hashed.rowOf(7));
  });
});
