import { HashedIds, type Id, IdMap } from "@shardgrad/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import xxhash from "xxhash-wasm";

const { h64Raw } = await xxhash();

/** What IdMap is to do, with JavaScript's Map, which keeps the order of insertion. */
class ReferenceMap {
  rows = new Map<Id, { row: number; step: number }>();
  candidates = new Map<Id, { sightings: number; step: number }>();
  free: number[] = [];
  taken = 0;

  constructor(
    public capacity: number,
    readonly admitAfter: number,
    readonly expireAfter: number,
    readonly maxCandidates: number,
  ) {}

  admit(id: Id, step: number): number {
    const known = this.rows.get(id);
    if (known !== undefined) {
      known.step = step;
      return known.row;
    }
    const full = this.free.length === 0 && this.taken === this.capacity;
    const sightings = Math.min((this.candidates.get(id)?.sightings ?? 0) + 1, this.admitAfter);
    this.candidates.delete(id);
    if (sightings < this.admitAfter || full) {
      if (this.admitAfter === 1) return -1;
      if (this.candidates.size === this.maxCandidates) {
        this.candidates.delete(this.candidates.keys().next().value!);
      }
      this.candidates.set(id, { sightings, step });
      return -1;
    }
    const row = this.free.pop() ?? this.taken++;
    this.rows.set(id, { row, step });
    return row;
  }

  expire(step: number): number[] {
    const old = (entry: { step: number }) => step - entry.step >= this.expireAfter;
    const freed: number[] = [];
    for (const [id, entry] of this.rows) {
      if (old(entry) && this.rows.delete(id)) freed.push(entry.row);
    }
    for (const [id, entry] of this.candidates) if (old(entry)) this.candidates.delete(id);
    freed.sort((a, b) => a - b);
    this.free.push(...freed.toReversed());
    return freed;
  }
}

const int64 = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n);
/** Few ids, so that they come back; some agree in their low or high halves. */
const pools = {
  int64: fc.uniqueArray(
    fc.oneof(
      int64,
      fc.nat(40).map(BigInt),
      fc.nat(40).map((n) => BigInt(n) << 32n),
    ),
    {
      minLength: 1,
      maxLength: 40,
    },
  ),
  string: fc.uniqueArray(
    fc.string({ unit: "grapheme", maxLength: 20 }).filter((s) => s.isWellFormed()),
    { minLength: 1, maxLength: 40 },
  ),
};

const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ admit: fc.array(fc.nat(39), { maxLength: 30 }), later: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ expire: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ resize: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.constant({ reload: true }) },
);

const options = fc.record({
  rows: fc.integer({ min: 1, max: 30 }),
  admitAfter: fc.integer({ min: 1, max: 3 }),
  expireAfter: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constant(Infinity)),
  maxCandidates: fc.integer({ min: 1, max: 20 }),
});

function checkAgainstReference(idType: "int64" | "string"): void {
  const pool: fc.Arbitrary<Id[]> = pools[idType];
  fc.assert(
    fc.property(pool, options, fc.array(action, { maxLength: 60 }), (ids, given, actions) => {
      let map = new IdMap({ ...given, idType });
      const { rows, admitAfter, expireAfter, maxCandidates } = given;
      const reference = new ReferenceMap(rows, admitAfter, expireAfter, maxCandidates);
      let step = 0;
      for (const act of actions) {
        if ("admit" in act) {
          step += act.later;
          const list = act.admit.map((k) => ids[k % ids.length]!);
          expect([...map.admit(list, step)]).toEqual(list.map((id) => reference.admit(id, step)));
        } else if ("expire" in act) {
          step += act.expire;
          expect([...map.expire(step)]).toEqual(reference.expire(step));
        } else if ("resize" in act) {
          reference.capacity += act.resize;
          map.resize(reference.capacity);
        } else map = IdMap.fromState(structuredClone(map.toState()));
        expect([...map.lookup(ids)]).toEqual(ids.map((id) => reference.rows.get(id)?.row ?? -1));
        expect([map.size, map.candidates]).toEqual([reference.rows.size, reference.candidates.size]);
      }
      const owners = new Map([...reference.rows].map(([id, { row }]) => [row, id]));
      for (let row = 0; row < map.capacity; row++) expect(map.idOf(row)).toBe(owners.get(row));
    }),
    { numRuns: 300 },
  );
}

test("a map of integers does what a plain one does", () => checkAgainstReference("int64"));
test("a map of strings does what a plain one does", () => checkAgainstReference("string"));

test("hashed rows are those of the reference hash of the documented bytes", () =>
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: "binary", maxLength: 100 }), int64),
      fc.option(fc.oneof(fc.string(), fc.maxSafeInteger()), { nil: undefined }),
      fc.maxSafeNat(),
      fc.integer({ min: 1, max: 2 ** 32 - 1 }),
      (id, field, seed, buckets) => {
        const bytesOf = (value: Id) =>
          typeof value === "string"
            ? new TextEncoder().encode(value)
            : new Uint8Array(BigInt64Array.of(BigInt(value)).buffer);
        const idSeed = field === undefined ? BigInt(seed) : h64Raw(bytesOf(field), BigInt(seed));
        const row = Number((h64Raw(bytesOf(id), idSeed) * BigInt(buckets)) >> 64n);
        const hashed = new HashedIds({ buckets, seed });
        expect(hashed.rowOf(id, field)).toBe(row);
        expect(hashed.rows([id, id], undefined, field)).toEqual(Uint32Array.of(row, row));
      },
    ),
    { numRuns: 1000 },
  ));
