import type { DType } from "@shardgrad/core";
import { LAZY_BLOCK_BYTES, lazyNumbers, lazyWords, powerTable, viewOf } from "@shardgrad/workers";
import { describe, expect, test } from "vitest";
import { LazyCopy } from "../../packages/core/dist/variable/lazy-copy.js";
import {
  AVERAGE_BEHIND,
  CURRENT,
  LazyRows,
  OVERWRITE_DUE,
} from "../../packages/core/dist/variable/lazy-rows.js";
import { numberToHalf, roundHalf } from "../support/half.js";

/** A memory with a hand-made lazy block, the words `last` of four rows, a list of overwrites and two arrays. */
function memory({
  momentum = 0.5,
  clock = 10,
  floor = 0,
  last = [0, 0, 0, 0],
  overwrites = [],
  counted,
}: Partial<{
  momentum: number;
  clock: number;
  floor: number;
  last: number[];
  overwrites: number[];
  counted: number;
}> = {}) {
  const buffer = new SharedArrayBuffer(65_536);
  const words = new Uint32Array(buffer);
  const doubles = new Float64Array(buffer);
  const block = 1024;
  const at = { last: block + LAZY_BLOCK_BYTES, list: 20_480, average: 32_768, variable: 40_960 };
  const head = block / 4;
  words[head + lazyWords.clock] = clock;
  words[head + lazyWords.floor] = floor;
  words[head + lazyWords.overwrites] = counted ?? overwrites.length;
  words[head + lazyWords.average] = at.average;
  words[head + lazyWords.last] = at.last;
  words[head + lazyWords.list] = at.list;
  doubles[block / 8 + lazyNumbers.momentum] = momentum;
  doubles[block / 8 + lazyNumbers.complement] = 1 - momentum;
  doubles.set(powerTable(momentum), block / 8 + lazyNumbers.powers);
  words.set(last, at.last / 4);
  words.set(overwrites, at.list / 4);
  return { buffer, words, doubles, block, at };
}

function opened(options: Parameters<typeof memory>[0], dtype: DType = "float64"): LazyRows {
  const { words, doubles, block } = memory(options);
  const rows = new LazyRows(dtype);
  rows.open(words, doubles, block);
  return rows;
}

describe("how far a row is behind", () => {
  test.each([2 ** 31, 3e9, 2 ** 32 - 1])("a count of overwrites that is none (%d) ends, too", (counted) => {
    // As a reader may find it that comes too late: the memory is somebody else's, which it notices afterwards.
    for (const list of [0, 2 ** 32 - 1]) {
      const rows = opened({ counted, overwrites: Array(4).fill(list) });
      expect([CURRENT, AVERAGE_BEHIND, OVERWRITE_DUE]).toContain(rows.look(0));
    }
  });

  test("by its own count and the floor", () => {
    const rows = opened({ clock: 10, floor: 7, last: [10, 11, 9, 0] });
    expect([0, 1, 2, 3].map((row) => rows.look(row))).toEqual([
      CURRENT,
      CURRENT,
      AVERAGE_BEHIND,
      AVERAGE_BEHIND,
    ]);
    rows.look(2);
    expect(rows.caughtUp(8, 4)).toBe(6); // one average
    rows.look(3);
    expect(rows.caughtUp(8, 0)).toBe(1); // three, from the floor on
  });

  test("by overwrites after it, of which the first counts", () => {
    const rows = opened({ clock: 10, last: [1, 4, 8, 9], overwrites: [4, 6, 9] });
    expect([0, 1, 2, 3].map((row) => rows.look(row))).toEqual([
      OVERWRITE_DUE,
      OVERWRITE_DUE,
      OVERWRITE_DUE,
      AVERAGE_BEHIND,
    ]);
    rows.look(0);
    expect(rows.caughtUp(8, 0)).toBe(1); // three averages, to clock 4
    rows.look(1);
    expect(rows.caughtUp(8, 0)).toBe(2); // two, to clock 6
  });

  test("an overwrite of a step that is not over does not count", () => {
    const rows = opened({ clock: 10, last: [9, 0, 0, 0], overwrites: [11] });
    expect(rows.look(0)).toBe(AVERAGE_BEHIND);
    // Written to the list, but not counted yet.
    const before = opened({ clock: 11, last: [9, 0, 0, 0], overwrites: [11], counted: 0 });
    expect(before.look(0)).toBe(AVERAGE_BEHIND);
  });

  test("momenta of 0 and 1", () => {
    const zero = opened({ momentum: 0, last: [3, 0, 0, 0] });
    zero.look(0);
    expect(zero.caughtUp(8, 5)).toBe(5);
    const one = opened({ momentum: 1, last: [3, 0, 0, 0] });
    one.look(0);
    expect(one.caughtUp(8, 5)).toBe(8);
  });

  test("counts of more than a byte", () => {
    const rows = opened({ momentum: 1 - 2 ** -20, clock: 70_000 });
    rows.look(0);
    const p = (1 - 2 ** -20) ** 70_000;
    expect(rows.caughtUp(1, 0)).toBeCloseTo(p, 13);
    expect(rows.caughtUp(0, 1)).toBeCloseTo(1 - p, 10);
  });
});

describe("rounding", () => {
  const [m, e, w] = [0.7, 1.1, -0.3];
  const roundings: Record<DType, (value: number) => number> = {
    float64: (value) => value,
    float32: Math.fround,
    float16: roundHalf,
  };
  test.each(["float64", "float32", "float16"] as const)("every operation to %s", (dtype) => {
    const round = roundings[dtype];
    const momentum = round(m);
    const { words, doubles, block } = memory({ momentum, clock: 3 });
    doubles[block / 8 + lazyNumbers.complement] = round(1 - m);
    const rows = new LazyRows(dtype);
    rows.open(words, doubles, block);
    rows.look(0);
    const power = momentum ** 3;
    const [p, q] = [round(power), round((round(1 - m) * (1 - power)) / (1 - momentum))];
    expect(rows.caughtUp(round(e), round(w))).toBe(round(round(p * round(e)) + round(q * round(w))));
  });
});

describe("rows are copied", () => {
  const options = { clock: 2, last: [2, 1, 0, 0], overwrites: [1] };

  test.each([
    ["float32", (value: number) => value],
    ["float64", (value: number) => value],
    ["float16", numberToHalf],
  ] as const)("%s", (dtype, coded) => {
    const { buffer, block, at } = memory(options);
    const averages = viewOf(dtype, buffer, at.average, 8);
    averages.set([0, 4, 8, 12, 16, 20, 24, 28].map(coded));
    const before = [...averages];
    const copies = [true, false].map((ofAverage) => {
      const copy = new LazyCopy(dtype, 2, ofAverage);
      copy.open(buffer, block, at.variable);
      const target = viewOf(dtype, new SharedArrayBuffer(64), 0, 6);
      return { written: [0, 1, 2].map((row) => copy.copy(row, target, row)), target: [...target] };
    });
    // Row 0 is current, row 1 one average behind, row 2 one average and its overwrite.
    expect(copies).toEqual([
      { written: [false, true, true], target: [0, 0, 4, 6, 8, 10].map(coded) },
      { written: [false, false, true], target: [0, 0, 0, 0, 8, 10].map(coded) },
    ]);
    expect([...averages]).toEqual(before);
  });
});
