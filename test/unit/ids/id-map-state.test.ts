import { ArgumentError, IdMap, type IdMapState } from "@shardgrad/core";
import { describe, expect, test } from "vitest";

/** Rows 0, 1 and 3 in use, row 2 free, candidates 50 and 60. */
function busyMap(): IdMap {
  const map = new IdMap({ rows: 10, admitAfter: 2, expireAfter: 5, maxCandidates: 4 });
  map.admit([10, 11, 12, 13], 1);
  map.admit([10, 11, 12, 13], 1);
  map.admit([10, 11, 13, 50], 3);
  map.expire(6);
  map.admit([60], 7);
  return map;
}

test("a state is plain data", () => {
  expect(busyMap().toState()).toEqual({
    version: 1,
    idType: "int64",
    capacity: 10,
    admitAfter: 2,
    expireAfter: 5,
    maxCandidates: 4,
    step: 7,
    rows: Uint32Array.of(0, 1, 3),
    rowIds: BigInt64Array.of(10n, 11n, 13n),
    rowSteps: Uint32Array.of(3, 3, 3),
    freeRows: Uint32Array.of(2),
    candidateIds: BigInt64Array.of(50n, 60n),
    candidateSightings: Uint32Array.of(1, 1),
    candidateSteps: Uint32Array.of(3, 7),
  });
});

test("strings are saved as UTF-8", () => {
  const map = new IdMap({ rows: 3, idType: "string" });
  map.admit(["né", "", "🦊"], 0);
  const { rowIds } = map.toState();
  const utf8 = new TextEncoder().encode("né🦊");
  expect(rowIds).toEqual({ utf8, lengths: Uint32Array.of(3, 0, 4) });
});

test("a map goes on from a copy of its state as if nothing had happened", () => {
  const map = busyMap();
  const state = structuredClone(map.toState());
  const copy = IdMap.fromState(state);
  state.rowIds instanceof BigInt64Array && state.rowIds.fill(0n);
  for (const array of [state.rows, state.freeRows, state.rowSteps]) array.fill(0);
  expect(copy.toState()).toEqual(map.toState());
  for (const each of [map, copy]) {
    expect(each.admit([60, 50, 70, 71, 70], 8)).toEqual(Int32Array.of(2, 4, -1, -1, 5));
    expect(each.expire(8)).toEqual(Uint32Array.of(0, 1, 3));
  }
  expect(copy.toState()).toEqual(map.toState());
});

test("an empty map", () => {
  const map = new IdMap({ rows: 5, idType: "uint64" });
  expect(IdMap.fromState(map.toState()).toState()).toEqual(map.toState());
});

describe("refused: a state that", () => {
  const good = busyMap().toState();
  const changes: [string, Partial<Record<keyof IdMapState, unknown>>, string][] = [
    ["is of another version", { version: 2 }, "state.version"],
    ["has a bad option", { admitAfter: 0 }, "admitAfter"],
    ["has no room for its rows", { capacity: 3 }, "state.rows"],
    ["has a bad step", { step: -1 }, "state.step"],
    ["uses a row twice", { rows: Uint32Array.of(0, 0, 3) }, "state.rows"],
    ["leaves rows out", { rows: Uint32Array.of(0, 1, 4) }, "state.rows"],
    ["has a row in use that is free", { freeRows: Uint32Array.of(3) }, "state.freeRows"],
    ["has an id twice", { rowIds: BigInt64Array.of(1n, 1n, 2n) }, "state.rowIds"],
    ["has too few ids", { rowIds: BigInt64Array.of(1n) }, "state.rowIds"],
    ["has ids of another type", { rowIds: BigUint64Array.of(1n, 2n, 3n) }, "state.rowIds"],
    ["used a row after its step", { rowSteps: Uint32Array.of(3, 3, 8) }, "state.rowSteps"],
    ["has too few steps", { rowSteps: Uint32Array.of(3) }, "state.rowSteps"],
    ["has lists for arrays", { rowSteps: [3, 3, 3] }, "state.rowSteps"],
    ["has a candidate with a row", { candidateIds: BigInt64Array.of(10n, 60n) }, "state.candidateIds"],
    ["has a candidate twice", { candidateIds: BigInt64Array.of(60n, 60n) }, "state.candidateIds"],
    ["has too many candidates", { maxCandidates: 1 }, "state.candidateIds"],
    ["has candidates for nothing", { admitAfter: 1 }, "state.candidateIds"],
    ["has unseen candidates", { candidateSightings: Uint32Array.of(1, 0) }, "state.candidateSightings"],
    ["has candidates long due", { candidateSightings: Uint32Array.of(3, 1) }, "state.candidateSightings"],
    ["has candidates out of order", { candidateSteps: Uint32Array.of(7, 3) }, "state.candidateSteps"],
  ];

  test.each(changes)("%s", (_, change, argument) => {
    const load = () => IdMap.fromState({ ...good, ...change } as IdMapState);
    expect(load).toThrow(ArgumentError);
    expect(load).toThrow(expect.objectContaining({ argument }));
  });

  test.each([
    ["no strings", null],
    ["integers", BigInt64Array.of(1n)],
    ["bytes left over", { utf8: new Uint8Array(2), lengths: Uint32Array.of(1) }],
    ["a cut character", { utf8: new TextEncoder().encode("é"), lengths: Uint32Array.of(1, 1) }],
  ])("has %s", (_, rowIds) => {
    const map = new IdMap({ rows: 2, idType: "string" });
    map.admit(["a"], 0);
    const load = () => IdMap.fromState({ ...map.toState(), rowIds } as never);
    expect(load).toThrow(expect.objectContaining({ argument: "state.rowIds" }));
  });

  test("is nothing", () => {
    for (const state of [null, undefined, 5]) {
      expect(() => IdMap.fromState(state as never)).toThrow(expect.objectContaining({ argument: "state" }));
    }
  });
});
