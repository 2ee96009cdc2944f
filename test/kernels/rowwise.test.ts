import { beforeEach, describe, expect, test } from "vitest";
import { meanSquare } from "../support/reference.js";
import { clips, expectSame, numbers, oddNumbers, positives, seeded } from "./data.js";
import { call, checkGuards, type DType, dtypes, Floats, placeIndices, reserve, reset } from "./kernels.js";
import { clipValue, emaStep, rounding, type Scalars } from "./reference.js";

const step = { rate: 0.1, epsilon: 1e-7 };
const plain = { ...step, ...clips[0]! };
const rowSizes = [1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 64, 300];

interface Table {
  readonly w: Float64Array;
  readonly accumulator: Float64Array;
}

/** The formula, for the gradient of one row: sums in `squared`, each of which is squared by itself. */
function rowStep(
  dtype: DType,
  { w, accumulator }: Table,
  row: number,
  g: readonly number[],
  squared: readonly (readonly number[])[],
  scalars: Scalars,
): void {
  const r = rounding[dtype];
  for (const slice of squared) accumulator[row] = r(accumulator[row]! + r(meanSquare(slice)));
  const root = r(Math.sqrt(r(accumulator[row]! + r(scalars.epsilon))));
  g.forEach((value, j) => {
    const at = row * g.length + j;
    w[at] = r(w[at]! - r(r(r(scalars.rate) * value) / root));
  });
}

function table(dtype: DType, rows: number, rowSize: number, seed: number): Table {
  const random = seeded(seed);
  return { w: numbers(dtype, rows * rowSize, random), accumulator: positives(dtype, rows, random) };
}

function compareDense(
  dtype: DType,
  rowSize: number,
  gradient: Float64Array,
  scalars: Scalars,
  kind = 0,
): void {
  reset();
  const rows = gradient.length / rowSize;
  const expected = table(dtype, rows, rowSize, rowSize);
  const average = numbers(dtype, gradient.length, seeded(3));
  const [w, accumulator, ema, g] = [expected.w, expected.accumulator, average, gradient].map(
    (values, i) => new Floats(dtype, values, i),
  ) as [Floats, Floats, Floats, Floats];
  const { rate, epsilon, clipKind, a, b } = scalars;
  // biome-ignore format: the arguments as the kernel groups them
  call(
    `rowwiseDense${dtype}`, w.at, accumulator.at, ema.at, g.at, rows, rowSize, rate, epsilon, clipKind, a, b,
    0.9, 0.1, kind,
  );
  for (let row = 0; row < rows; row++) {
    const slice = Array.from(gradient.slice(row * rowSize, (row + 1) * rowSize), (value) =>
      clipValue(dtype, value, scalars),
    );
    rowStep(dtype, expected, row, slice, [slice], scalars);
  }
  emaStep(dtype, expected.w, average, { kind, momentum: 0.9, complement: 0.1 });
  expectSame(w.read(), expected.w, `variable, row size ${rowSize}`);
  expectSame(accumulator.read(), expected.accumulator, `accumulator, row size ${rowSize}`);
  expectSame(ema.read(), average, `average, row size ${rowSize}`);
}

function compareRows(
  dtype: DType,
  { rows, rowSize, indices }: { rows: number; rowSize: number; indices: readonly number[] },
  scalars: Scalars,
  { perRow = false, lanes = 1, values = numbers(dtype, indices.length * rowSize, seeded(rows)) } = {},
): void {
  reset();
  const r = rounding[dtype];
  const expected = table(dtype, rows, rowSize, rowSize);
  const [w, accumulator, v] = [expected.w, expected.accumulator, values].map(
    (array, i) => new Floats(dtype, array, i),
  ) as [Floats, Floats, Floats];
  const list = placeIndices(indices);
  const { rate, epsilon, clipKind, a, b } = scalars;
  for (let lane = 0; lane < lanes; lane++) {
    const scratch = reserve(call("rowsScratchBytes", indices.length));
    // biome-ignore format: the arguments as the kernel groups them
    call(
      `rowwiseRows${dtype}`, w.at, accumulator.at, rowSize, list.at, v.at, indices.length, lane, lanes, 1,
      scratch.at, rate, epsilon, clipKind, a, b, perRow ? 1 : 0, 0, 1023,
    );
    checkGuards(scratch);
  }
  const slicesOf = new Map<number, number[][]>();
  for (const [k, row] of indices.entries()) {
    const slice = Array.from(values.slice(k * rowSize, (k + 1) * rowSize), (g) =>
      clipValue(dtype, g, scalars),
    );
    slicesOf.set(row, [...(slicesOf.get(row) ?? []), slice]);
  }
  for (const [row, slices] of slicesOf) {
    const sum = slices.reduce(
      (total, slice) => total.map((value, j) => r(value + slice[j]!)),
      new Array<number>(rowSize).fill(0),
    );
    rowStep(dtype, expected, row, sum, perRow ? [sum] : slices, scalars);
  }
  expectSame(w.read(), expected.w, `variable, row size ${rowSize}`);
  expectSame(accumulator.read(), expected.accumulator, `accumulator, row size ${rowSize}`);
}

beforeEach(reset);

describe.each(dtypes)("row-wise accumulators, %s", (dtype) => {
  test.each(clips)("dense rows of every size, with each use of the average, clip kind $clipKind", (clip) => {
    for (const rowSize of rowSizes) {
      for (const kind of [0, 1, 2]) {
        compareDense(dtype, rowSize, numbers(dtype, 5 * rowSize, seeded(9)), { ...step, ...clip }, kind);
      }
    }
  });

  test.each(clips)("slices, some of the same row, clip kind $clipKind", (clip) => {
    const random = seeded(4);
    for (const rowSize of rowSizes) {
      for (const perRow of [false, true]) {
        const indices = Array.from({ length: 90 }, () => Math.floor(random() * 40));
        for (const lanes of [1, 3]) {
          compareRows(dtype, { rows: 40, rowSize, indices }, { ...step, ...clip }, { perRow, lanes });
        }
      }
    }
  });

  test("odd numbers", () => {
    const odd = oddNumbers(dtype);
    const pairs = Float64Array.from(odd.flatMap((first) => odd.flatMap((second) => [first, second])));
    compareDense(dtype, 2, pairs, plain);
    const indices = [...Array(pairs.length / 2).keys()];
    compareRows(dtype, { rows: indices.length, rowSize: 2, indices }, plain, { values: pairs });
  });
});

test("rows of no elements change nothing", () => {
  const accumulator = new Floats("F32", [1, 2]);
  // biome-ignore format: the arguments as the kernel groups them
  call("rowwiseDenseF32", 65_536, accumulator.at, 65_536, 65_536, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0);
  expect([...accumulator.read()]).toEqual([1, 2]);
});
