import {
  ArgumentError,
  DtypeError,
  type IdBatch,
  IdMap,
  IndexError,
  OptionError,
  ShapeError,
} from "@shardgrad/core";
import { describe, expect, test } from "vitest";

const rows = (...numbers: number[]) => Int32Array.from(numbers);

describe("admission", () => {
  test("every id gets a row at once by default, in the order of the sightings", () => {
    const map = new IdMap({ rows: 4 });
    expect(map.admit([30, 10, 30, 20], 0)).toEqual(rows(0, 1, 0, 2));
    expect(map.lookup([10, 20, 30, 40])).toEqual(rows(1, 2, 0, -1));
    expect([map.size, map.capacity, map.candidates, map.step]).toEqual([3, 4, 0, 0]);
    expect([0, 1, 2, 3].map((row) => map.idOf(row))).toEqual([30n, 10n, 20n, undefined]);
  });

  test("lookup counts no sighting and is no use", () => {
    const map = new IdMap({ rows: 2, admitAfter: 2, expireAfter: 1 });
    map.admit([1], 1);
    for (let i = 0; i < 5; i++) expect(map.rowOf(1)).toBe(-1);
    map.admit([1], 2);
    expect(map.rowOf(1)).toBe(0);
    expect(map.expire(3)).toEqual(Uint32Array.of(0));
  });

  test("at the sighting asked for, those of one list counted one by one", () => {
    const map = new IdMap({ rows: 4, admitAfter: 3 });
    expect(map.admit([5, 5], 0)).toEqual(rows(-1, -1));
    expect(map.candidates).toBe(1);
    expect(map.admit([6, 5, 5], 1)).toEqual(rows(-1, 0, 0));
    expect([map.size, map.candidates]).toEqual([1, 1]);
  });

  test("the candidate seen longest ago is forgotten for a new one", () => {
    const map = new IdMap({ rows: 4, admitAfter: 2, maxCandidates: 2 });
    map.admit([1, 2], 0);
    map.admit([3], 1); // forgets 1
    expect(map.candidates).toBe(2);
    expect(map.admit([1], 2)).toEqual(rows(-1)); // a first sighting again; forgets 2
    expect(map.admit([3, 1, 2], 3)).toEqual(rows(0, 1, -1));
  });

  test("a full table gives -1, and a free row to the next one that is due", () => {
    for (const admitAfter of [1, 2]) {
      const map = new IdMap({ rows: 1, admitAfter, expireAfter: 1 });
      for (let i = 0; i < admitAfter; i++) map.admit([1], 0);
      expect(map.admit([2, 2, 2], 0)).toEqual(rows(-1, -1, -1));
      expect(map.expire(1)).toEqual(Uint32Array.of(0));
      expect(map.admit([2], 1), `admitAfter ${admitAfter}`).toEqual(rows(admitAfter === 1 ? 0 : -1));
    }
    const patient = new IdMap({ rows: 1, admitAfter: 2, expireAfter: 2 });
    patient.admit([1, 1], 0);
    patient.admit([2, 2, 2], 1);
    patient.expire(2);
    expect(patient.admit([2], 2)).toEqual(rows(0));
  });
});

describe("expiry", () => {
  test("frees what was last used so many steps ago; freed rows come before new ones, the lowest first", () => {
    const map = new IdMap({ rows: 6, expireAfter: 5 });
    map.admit([10, 11, 12], 1);
    map.admit([13, 11], 2);
    expect(map.expire(5)).toEqual(new Uint32Array(0));
    expect(map.expire(6)).toEqual(Uint32Array.of(0, 2));
    expect(map.lookup([10, 11, 12, 13])).toEqual(rows(-1, 1, -1, 3));
    expect([map.idOf(0), map.size]).toEqual([undefined, 2]);
    expect(map.admit([20, 21, 22, 10], 6)).toEqual(rows(0, 2, 4, 5));
  });

  test("forgets candidates as well", () => {
    const map = new IdMap({ rows: 2, admitAfter: 2, expireAfter: 3 });
    map.admit([1], 1);
    map.admit([2], 2);
    map.expire(4);
    expect(map.candidates).toBe(1);
    expect(map.admit([1, 2], 4)).toEqual(rows(-1, 0));
  });

  test("never happens by default", () => {
    const map = new IdMap({ rows: 1, admitAfter: 2 });
    map.admit([1, 1, 2], 0);
    expect(map.expire(2 ** 32 - 2)).toEqual(new Uint32Array(0));
    expect([map.size, map.candidates]).toEqual([1, 1]);
  });

  test("of everything, again and again, leaves no id behind", () => {
    const map = new IdMap({ rows: 300, expireAfter: 1 });
    for (let step = 0; step < 20; step++) {
      const ids = Int32Array.from({ length: 300 }, (_, i) => i * (step + 1));
      expect(new Set(map.admit(ids, 2 * step)).size).toBe(300);
      expect(map.expire(2 * step + 1)).toEqual(Uint32Array.from({ length: 300 }, (_, i) => i));
      expect(map.lookup(ids).every((row) => row === -1)).toBe(true);
    }
  });
});

describe("ids", () => {
  const extremes = [0n, 1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n];
  const lists: [string, IdBatch, (bigint | string)[]][] = [
    ["int64", [...extremes, -1n, -(2n ** 63n)], [...extremes, -1n, -(2n ** 63n)]],
    ["int64", BigInt64Array.of(-1n, 5n), [-1n, 5n]],
    ["int64", BigUint64Array.of(5n), [5n]],
    ["int64", Int32Array.of(-1, 5), [-1n, 5n]],
    ["int64", Uint32Array.of(2 ** 32 - 1), [2n ** 32n - 1n]],
    ["int64", [-(2 ** 53) + 1, -0, 7n], [-(2n ** 53n) + 1n, 0n, 7n]],
    ["uint64", [...extremes, 2n ** 64n - 1n], [...extremes, 2n ** 64n - 1n]],
    ["uint64", BigUint64Array.of(2n ** 64n - 1n), [2n ** 64n - 1n]],
    ["uint64", BigInt64Array.of(2n ** 63n - 1n), [2n ** 63n - 1n]],
    ["uint64", Int32Array.of(3), [3n]],
    ["string", ["", "a", "漢字 🦊", "\0", "x".repeat(100), "__proto__"], []],
  ];

  test.each(lists)("%s from %o", (idType, ids, expected) => {
    const map = new IdMap({ rows: 10, idType: idType as "int64" });
    const order = Int32Array.from({ length: ids.length }, (_, i) => i);
    expect(map.admit(ids, 0)).toEqual(order);
    expect([...order].map((row) => map.idOf(row))).toEqual(idType === "string" ? ids : expected);
    expect(map.lookup(ids)).toEqual(order);
    const copy = IdMap.fromState(map.toState());
    expect(copy.lookup(ids)).toEqual(order);
  });

  test("a number and the bigint of the same value are one id", () => {
    const map = new IdMap({ rows: 2 });
    expect(map.admit([-5, -5n], 0)).toEqual(rows(0, 0));
    expect(map.lookup(Int32Array.of(-5))).toEqual(rows(0));
  });
});

test("`out` takes the rows", () => {
  const map = new IdMap({ rows: 2 });
  const out = rows(9, 9, 9);
  expect(map.admit([4, 5, 6], 0, out)).toBe(out);
  expect(out).toEqual(rows(0, 1, -1));
  expect(map.lookup([6, 5, 4], out)).toBe(out);
  expect(out).toEqual(rows(-1, 1, 0));
});

test("resize keeps rows, candidates and free rows, and makes room", () => {
  const map = new IdMap({ rows: 3, admitAfter: 2, expireAfter: 3 });
  map.admit([10, 10, 11, 11, 12, 12], 1);
  map.admit([10, 12, 13], 2);
  expect(map.expire(4)).toEqual(Uint32Array.of(1));
  map.resize(1000);
  expect([map.capacity, map.size, map.candidates, map.maxCandidates]).toEqual([1000, 2, 1, 3]);
  expect(map.lookup([10, 11, 12])).toEqual(rows(0, -1, 2));
  expect(map.admit([13, 14, 14], 4)).toEqual(rows(1, -1, 3));
  for (let id = 100; id < 1096; id++) map.admit([id, id], 4);
  expect(map.size).toBe(1000);
  expect(map.lookup([10, 100, 1095])).toEqual(rows(0, 4, 999));
});

describe("refused, and nothing has changed", () => {
  function busyMap(idType: "int64" | "uint64" | "string" = "int64"): IdMap {
    const map = new IdMap({ rows: 4, idType, admitAfter: 2, expireAfter: 3 });
    const ids = idType === "string" ? ["1", "1", "2"] : [1, 1, 2];
    map.admit(ids, 3);
    return map;
  }

  function expectRefused(map: IdMap, action: () => unknown, expected: object): void {
    const before = map.toState();
    expect(action).toThrow(ArgumentError);
    expect(action).toThrow(expect.objectContaining(expected));
    expect(map.toState()).toEqual(before);
  }

  test.each([
    ["int64", ["1", 1.5, 2 ** 53, 2n ** 63n, -(2n ** 63n) - 1n, null, undefined]],
    ["uint64", ["1", -1, -1n, 2n ** 64n, Number.NaN, true]],
    ["string", [1, 1n, "\ud83e", "a\udd8a", null]],
  ] as const)("an id that is no %s", (idType, ids) => {
    const map = busyMap(idType);
    const good = idType === "string" ? "9" : 9;
    for (const id of ids) {
      const out = rows(7, 7);
      const list = [good, id as never];
      expectRefused(map, () => map.admit(list, 4, out), { argument: "ids[1]", received: id });
      expectRefused(map, () => map.lookup(list, out), { argument: "ids[1]", received: id });
      expect(out).toEqual(rows(7, 7));
    }
  });

  test("numbers of an array that are out of range", () => {
    const signed = busyMap();
    const large = BigUint64Array.of(0n, 2n ** 63n);
    expectRefused(signed, () => signed.admit(large, 4), { argument: "ids[1]" });
    for (const ids of [BigInt64Array.of(0n, -1n), Int32Array.of(0, -1)]) {
      const map = busyMap("uint64");
      expectRefused(map, () => map.admit(ids, 4), { argument: "ids[1]" });
    }
  });

  test("what is no list of ids", () => {
    for (const map of [busyMap(), busyMap("string")]) {
      for (const ids of [null, "abc", 5, new Float64Array(1), { length: 1 }]) {
        expectRefused(map, () => map.admit(ids as never, 4), { argument: "ids" });
      }
    }
    const strings = busyMap("string");
    expectRefused(strings, () => strings.admit(Int32Array.of(1), 4), { argument: "ids" });
  });

  test("a step that is none, or before the last", () => {
    const map = busyMap();
    for (const step of [2, -1, 3.5, 2 ** 32 - 1, Number.NaN, "4", undefined]) {
      expectRefused(map, () => map.admit([1], step as never), { argument: "step", received: step });
      expectRefused(map, () => map.expire(step as never), { argument: "step", received: step });
    }
  });

  test("a bad `out`", () => {
    const map = busyMap();
    expectRefused(map, () => map.admit([1], 4, new Uint32Array(1) as never), { argument: "out" });
    expectRefused(map, () => map.admit([1], 4, new Int32Array(2)), { argument: "out" });
    expect(() => map.lookup([1], new Float32Array(1) as never)).toThrow(DtypeError);
    expect(() => map.lookup([1], new Int32Array(0))).toThrow(ShapeError);
  });

  test("a bad row or capacity", () => {
    const map = busyMap();
    for (const row of [-1, 4, 0.5, "0"]) expect(() => map.idOf(row as never)).toThrow(IndexError);
    for (const capacity of [3, 4.5, 2 ** 28 + 1, Infinity, "5"]) {
      expectRefused(map, () => map.resize(capacity as never), { argument: "rows", received: capacity });
    }
  });

  test.each([
    [{}, "rows"],
    [{ rows: 0 }, "rows"],
    [{ rows: 2 ** 28 + 1 }, "rows"],
    [{ rows: 1, idType: "int32" }, "idType"],
    [{ rows: 1, admitAfter: 0 }, "admitAfter"],
    [{ rows: 1, expireAfter: 0 }, "expireAfter"],
    [{ rows: 1, expireAfter: 1.5 }, "expireAfter"],
    [{ rows: 1, maxCandidates: 0 }, "maxCandidates"],
    [{ rows: 1, capacity: 1 }, "capacity"],
    [undefined, "options"],
  ])("options %o", (options, argument) => {
    const make = () => new IdMap(options as never);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(expect.objectContaining({ argument }));
  });
});
