import { beforeEach, describe, expect, test } from "vitest";
import { expectSame, numbers, positives, seeded } from "./data.js";
import {
  call,
  checkGuards,
  type DType,
  dtypes,
  Floats,
  placeDoubles,
  placeIndices,
  readWords,
  reserve,
  reset,
  writeWords,
} from "./kernels.js";
import { emaStep, rounding, rowsStep } from "./reference.js";

const ROWS = 40;
const CLOCK = 700_000;
const FLOOR = 100;
/** What each row has, by its number: before the floor, between overwrites, after them, all. */
const LASTS = [0, 99, 100, 101, 149, 150, 151, 65_000, 65_001, 300_000, 600_000, 699_999, CLOCK, CLOCK + 1];
const OVERWRITES = [150, 65_000, 600_000];
const lastOf = (row: number) => LASTS[row % LASTS.length]!;

interface Lazy {
  readonly momentum: number;
  readonly overwrites: readonly number[];
  readonly kind: number;
}

/** The arrays of a table with lazy averages, and its block as lazy-block.ts lays it out. */
function place(dtype: DType, rowSize: number, { momentum, overwrites, kind }: Lazy) {
  const random = seeded(rowSize);
  const r = rounding[dtype];
  const w = numbers(dtype, ROWS * rowSize, random);
  const e = numbers(dtype, ROWS * rowSize, random);
  const kernelW = new Floats(dtype, w);
  const kernelE = new Floats(dtype, e);
  const lasts = placeIndices(Array.from({ length: ROWS }, (_, row) => lastOf(row)));
  const list = placeIndices(overwrites);
  const block = placeDoubles([
    ...new Array(4).fill(0),
    ...[r(momentum), r(1 - momentum), 0, 0],
    ...Array.from({ length: 1024 }, (_, i) => r(momentum) ** ((i & 255) * 256 ** (i >> 8))),
  ]);
  const words = [CLOCK, FLOOR, overwrites.length, kind, kernelE.at, lasts.at, list.at];
  writeWords(block.at, words);
  return { w, e, kernelW, kernelE, lasts, block };
}

/** The closed form of the averages that a row has missed, in place. */
function caughtUp(dtype: DType, row: Float64Array, average: Float64Array, last: number, lazy: Lazy): void {
  const r = rounding[dtype];
  const since = Math.max(last, FLOOR);
  if (since >= CLOCK) return;
  const overwrite = lazy.overwrites.find((clock) => clock > since);
  const missed = (overwrite ?? CLOCK) - since;
  const m = r(lazy.momentum);
  // As the table is made: each place has powers of its own.
  const p = [0, 1, 2, 3].reduce(
    (product, i) => product * m ** ((Math.floor(missed / 256 ** i) % 256) * 256 ** i),
    1,
  );
  const complement = r(1 - lazy.momentum) * (m === 1 ? missed : (1 - p) / (1 - m));
  const kind = overwrite === undefined ? 1 : 2;
  emaStep(dtype, row, average, { kind, momentum: p, complement });
}

const cases: Lazy[] = [0, 0.5, 0.99, 0.9999, 1].flatMap((momentum) => [
  { momentum, overwrites: [], kind: 1 },
  { momentum, overwrites: OVERWRITES, kind: 2 },
]);

describe.each(dtypes)("lazy averages, %s", (dtype) => {
  beforeEach(reset);
  const rowOf = (array: Float64Array, row: number, rowSize: number) =>
    array.subarray(row * rowSize, (row + 1) * rowSize);

  test.each([1, 3, 8, 17])("catching up on rows of %i", (rowSize) => {
    for (const lazy of cases) {
      const { w, e, kernelW, kernelE, lasts, block } = place(dtype, rowSize, lazy);
      call(`catchUp${dtype}`, kernelW.at, rowSize, 2, ROWS - 3, block.at);
      for (let row = 2; row < ROWS - 1; row++) {
        caughtUp(dtype, rowOf(w, row, rowSize), rowOf(e, row, rowSize), lastOf(row), lazy);
      }
      const what = `momentum ${lazy.momentum}, ${lazy.overwrites.length} overwrites`;
      expectSame(kernelW.read(), w, `${what}: variable`);
      expectSame(kernelE.read(), e, `${what}: average`);
      const expected = Array.from({ length: ROWS }, (_, row) =>
        row < 2 || row === ROWS - 1 ? lastOf(row) : CLOCK,
      );
      expect([...readWords(lasts.at, ROWS)]).toEqual(expected);
      for (const array of [lasts, block]) checkGuards(array);
    }
  });

  test.each([1, 3, 8, 17])("a step over rows of %i, some of them twice", (rowSize) => {
    const scalars = { rate: 0.1, epsilon: 1e-7, clipKind: 0, a: 0, b: 0 };
    for (const lazy of cases) {
      const { w, e, kernelW, kernelE, lasts, block } = place(dtype, rowSize, lazy);
      const random = seeded(3);
      const indices = [5, 0, 13, 5, 7, 1, 2, 27, 13, 20];
      const values = numbers(dtype, indices.length * rowSize, random);
      const accumulator = positives(dtype, ROWS * rowSize, random);
      const [s, v, list] = [new Floats(dtype, accumulator), new Floats(dtype, values), placeIndices(indices)];
      const scratch = reserve(call("rowsScratchBytes", indices.length));
      // biome-ignore format: the arguments as the kernel groups them
      call(
        `adagradRows${dtype}`, kernelW.at, s.at, rowSize, list.at, v.at, indices.length, 0, 1, 0, scratch.at,
        scalars.rate, scalars.epsilon, 0, 0, 0, 0, 0, 0, block.at,
      );
      const touched = [...new Set(indices)];
      for (const row of touched) {
        caughtUp(dtype, rowOf(w, row, rowSize), rowOf(e, row, rowSize), lastOf(row), lazy);
      }
      rowsStep(dtype, { w, accumulator, values }, rowSize, indices, scalars, false);
      const once = { kind: lazy.kind, momentum: lazy.momentum, complement: 1 - lazy.momentum };
      for (const row of touched) {
        emaStep(dtype, rowOf(w, row, rowSize), rowOf(e, row, rowSize), once);
      }
      const what = `momentum ${lazy.momentum}, ${lazy.overwrites.length} overwrites`;
      expectSame(kernelW.read(), w, `${what}: variable`);
      expectSame(kernelE.read(), e, `${what}: average`);
      const expected = Array.from({ length: ROWS }, (_, row) =>
        touched.includes(row) ? CLOCK + 1 : lastOf(row),
      );
      expect([...readWords(lasts.at, ROWS)]).toEqual(expected);
      for (const array of [lasts, block]) checkGuards(array);
    }
  });
});
