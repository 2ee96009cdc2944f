import { type Average, clipValue, emaStep, rounding, type Scalars } from "../kernels/reference.js";
import { meanSquare } from "../support/reference.js";

const r = rounding.F32;

export interface RowwiseArrays {
  w: Float64Array;
  accumulator: Float64Array;
}

/** The formula for one row: `g` moves it, each of `squared` is squared by itself. */
function rowStep(
  { w, accumulator }: RowwiseArrays,
  row: number,
  g: readonly number[],
  squared: readonly (readonly number[])[],
  scalars: Scalars,
): void {
  for (const slice of squared) accumulator[row] = r(accumulator[row]! + r(meanSquare(slice)));
  const root = r(Math.sqrt(r(accumulator[row]! + r(scalars.epsilon))));
  g.forEach((value, j) => {
    const at = row * g.length + j;
    w[at] = r(w[at]! - r(r(r(scalars.rate) * value) / root));
  });
}

export function rowwiseDenseStep(
  arrays: RowwiseArrays & { average: Float64Array; gradient: Float64Array },
  rowSize: number,
  scalars: Scalars,
  average: Average,
): void {
  for (let row = 0; row < arrays.accumulator.length; row++) {
    const slice = clippedRow(arrays.gradient, row, rowSize, scalars);
    rowStep(arrays, row, slice, [slice], scalars);
  }
  emaStep("F32", arrays.w, arrays.average, average);
}

export function rowwiseRowsStep(
  arrays: RowwiseArrays & { values: Float64Array },
  rowSize: number,
  indices: readonly number[],
  scalars: Scalars,
  perRow: boolean,
): void {
  const slicesOf = new Map<number, number[][]>();
  for (const [slice, row] of indices.entries()) {
    slicesOf.set(row, [...(slicesOf.get(row) ?? []), clippedRow(arrays.values, slice, rowSize, scalars)]);
  }
  for (const [row, slices] of slicesOf) {
    const start = new Array<number>(rowSize).fill(0);
    const sum = slices.reduce((total, slice) => total.map((value, j) => r(value + slice[j]!)), start);
    rowStep(arrays, row, sum, perRow ? [sum] : slices, scalars);
  }
}

function clippedRow(values: Float64Array, row: number, rowSize: number, scalars: Scalars): number[] {
  const slice = values.subarray(row * rowSize, (row + 1) * rowSize);
  return Array.from(slice, (g) => clipValue("F32", g, scalars));
}
