import { beforeEach, describe, expect, test } from "vitest";
import { clips, expectSame, numbers, oddNumbers, positives, type Random, seeded } from "./data.js";
import {
  call,
  checkGuards,
  type DType,
  dtypes,
  Floats,
  placeIndices,
  readWords,
  reserve,
  reset,
} from "./kernels.js";
import { rowsStep, type Scalars } from "./reference.js";

/** Few enough words that blocks share them. */
const VERSION_MASK = 31;

const step = { rate: 0.1, epsilon: 1e-7 };

interface Case {
  readonly dtype: DType;
  readonly rows: number;
  readonly rowSize: number;
  readonly indices: readonly number[];
  readonly scalars: Scalars;
  readonly perRow?: boolean;
  readonly laneCount?: number;
  readonly ownerShift?: number;
  readonly offset?: number;
  readonly values?: Float64Array;
}

/** Runs the lanes of a case one after another and compares with the reference, which knows no lanes. */
function compareRows(options: Case): void {
  const { dtype, rows, rowSize, indices, scalars, perRow = false, laneCount = 1, ownerShift = 0 } = options;
  const { offset = 0 } = options;
  const random = seeded(rows * rowSize + indices.length);
  const w = numbers(dtype, rows * rowSize, random);
  const accumulator = positives(dtype, rows * rowSize, random);
  const values = options.values ?? numbers(dtype, indices.length * rowSize, random);

  reset();
  const kernelW = new Floats(dtype, w, offset);
  const kernelAccumulator = new Floats(dtype, accumulator, offset * 3);
  const kernelValues = new Floats(dtype, values, offset * 5);
  const list = placeIndices(indices, offset);
  const versions = reserve(4 * (VERSION_MASK + 1));
  for (let lane = 0; lane < laneCount; lane++) {
    const scratch = reserve(call("rowsScratchBytes", indices.length), offset);
    const { rate, epsilon, clipKind, a, b } = scalars;
    // biome-ignore format: the arguments as the kernel groups them
    call(
      `adagradRows${dtype}`, kernelW.at, kernelAccumulator.at, rowSize, list.at, kernelValues.at, indices.length,
      lane, laneCount, ownerShift, scratch.at, rate, epsilon, clipKind, a, b, perRow ? 1 : 0, versions.at, VERSION_MASK,
    );
    checkGuards(versions);
    checkGuards(scratch);
  }
  rowsStep(dtype, { w, accumulator, values }, rowSize, indices, scalars, perRow);
  const what = `${dtype} ${rows}x${rowSize}, ${indices.length} slices, clip ${scalars.clipKind}, ${laneCount} lanes`;
  expectSame(kernelW.read(), w, `${what}: variable`);
  expectSame(kernelAccumulator.read(), accumulator, `${what}: accumulator`);
  // Twice as many as there were visits: even again, and moved where a row was written.
  const words = readWords(versions.at, VERSION_MASK + 1);
  const written = new Set(indices.map((row) => (row >> ownerShift) & VERSION_MASK));
  const moved = [...words.keys()].filter((word) => words[word]! > 0 && words[word]! % 2 === 0);
  expect(moved, `${what}: versions`).toEqual([...written].sort((x, y) => x - y));
}

function anyRows(count: number, rows: number, random: Random): number[] {
  return Array.from({ length: count }, () => Math.floor(random() * rows));
}

/** Different rows in random order. */
function uniqueRows(count: number, rows: number, random: Random): number[] {
  const all = [...Array(rows).keys()];
  for (let i = 0; i < count; i++) {
    const other = i + Math.floor(random() * (rows - i));
    [all[i], all[other]] = [all[other]!, all[i]!];
  }
  return all.slice(0, count);
}

const plain = { ...step, ...clips[0]! };

beforeEach(reset);

describe.each(dtypes)("adagradRows%s", (dtype) => {
  test.each(clips)("duplicates or none, per slice and per row, clip kind $clipKind", (clip) => {
    const random = seeded(clip.clipKind);
    const scalars = { ...step, ...clip };
    for (const perRow of [false, true]) {
      for (const rowSize of [1, 3, 17, 75]) {
        const few = { dtype, rows: 40, rowSize, scalars, perRow };
        compareRows({ ...few, indices: uniqueRows(33, 40, random) });
        compareRows({ ...few, indices: anyRows(90, 7, random) });
        compareRows({ ...few, indices: anyRows(60, 40, random) });
      }
    }
  });

  test("every row size", () => {
    const random = seeded(5);
    for (const rowSize of [...Array(37).keys()].slice(1).concat(64, 300, 1025)) {
      const indices = [...anyRows(9, 20, random), 3, 3];
      compareRows({ dtype, rows: 20, rowSize, indices, scalars: plain, offset: rowSize % 4 });
    }
  });

  test("every number of slices: none, few, more than one block", () => {
    const random = seeded(6);
    for (const count of [...Array(68).keys(), 130, 300]) {
      compareRows({ dtype, rows: 500, rowSize: 2, indices: uniqueRows(count, 500, random), scalars: plain });
      compareRows({ dtype, rows: 500, rowSize: 2, indices: anyRows(count, 500, random), scalars: plain });
    }
  });

  test("order of the list: ascending, descending, one row only", () => {
    const ascending = [...Array(200).keys()].map((i) => i * 2);
    const orders = [ascending, ascending.toReversed(), ascending.map(() => 7), ascending.map((i) => i >> 3)];
    for (const indices of orders) {
      for (const perRow of [false, true]) {
        compareRows({ dtype, rows: 400, rowSize: 5, indices, scalars: plain, perRow });
      }
    }
  });

  test("the number of lanes does not matter", () => {
    const random = seeded(7);
    const indices = anyRows(700, 300, random);
    for (const laneCount of [1, 2, 3, 4, 5]) {
      for (const ownerShift of [0, 3, 20]) {
        compareRows({ dtype, rows: 300, rowSize: 4, indices, scalars: plain, laneCount, ownerShift });
      }
    }
  });

  test("odd numbers, alone and summed", () => {
    const odd = oddNumbers(dtype);
    const pairs = odd.flatMap((first) => odd.map((second) => [first, second]));
    for (const clip of clips) {
      for (const perRow of [false, true]) {
        const common = { dtype, scalars: { ...step, ...clip }, perRow, rowSize: 1 };
        const alone = [...odd.keys()];
        compareRows({ ...common, rows: odd.length, indices: alone, values: Float64Array.from(odd) });
        const twice = pairs.flatMap((_, row) => [row, row]);
        compareRows({
          ...common,
          rows: pairs.length,
          indices: twice,
          values: Float64Array.from(pairs.flat()),
        });
        // The same numbers in one row: many columns are taken at once.
        compareRows({
          ...common,
          rows: 2,
          rowSize: pairs.length,
          indices: [1, 1, 0],
          values: Float64Array.from([0, 1, 0].flatMap((which) => pairs.map((pair) => pair[which]!))),
        });
      }
    }
  });
});

test("many slices of many rows: several passes of sorting", () => {
  const random = seeded(8);
  const indices = anyRows(5000, 200_000, random);
  compareRows({ dtype: "F32", rows: 200_000, rowSize: 1, indices, scalars: plain });
  compareRows({
    dtype: "F32",
    rows: 200_000,
    rowSize: 1,
    indices,
    scalars: plain,
    laneCount: 3,
    ownerShift: 4,
  });
});

test("a slice of -0 counts as +0", () => {
  const w = new Floats("F32", [-0]);
  const accumulator = new Floats("F32", [0.1]);
  const values = new Floats("F32", [-0]);
  const scratch = reserve(call("rowsScratchBytes", 1));
  const indices = placeIndices([0]);
  // biome-ignore format: the arguments as the kernel groups them
  call("adagradRowsF32", w.at, accumulator.at, 1, indices.at, values.at, 1, 0, 1, 0, scratch.at, 1, 0, 0, 0, 0, 0, 0, 0);
  // -0 - 0 is -0; without the +0 that sums start from it would be -0 + 0 = 0.
  expect(w.read()[0]).toBe(-0);
});

test("lanes together own every row once, for many lanes", () => {
  const random = seeded(9);
  for (const laneCount of [6, 7, 12, 64, 96]) {
    const indices = anyRows(300, 3000, random);
    compareRows({ dtype: "F32", rows: 3000, rowSize: 1, indices, scalars: plain, laneCount, ownerShift: 1 });
  }
});
