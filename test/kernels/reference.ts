// The kernels' formulas in plain JavaScript: every operation is rounded by itself.
import type { DType } from "./kernels.js";

/** binary16 bits by definition: the nearest multiple of the spacing, halves to even. */
export function halfBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const x = Math.abs(value);
  if (Number.isNaN(x)) return 0x7e00;
  if (x >= 65_520) return sign | 0x7c00;
  let exponent = -14;
  while (x >= 2 ** (exponent + 1)) exponent++;
  const steps = x / 2 ** (exponent - 10);
  let whole = Math.floor(steps);
  const over = steps - whole;
  if (over > 0.5 || (over === 0.5 && whole % 2 === 1)) whole++;
  // A subnormal has no hidden bit, and 2048 steps carry into the exponent: both come out right by adding.
  return sign | (whole + (exponent + 14) * 1024);
}

export function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}

export const rounding: Record<DType, (value: number) => number> = {
  F32: Math.fround,
  F64: (value) => value,
  F16: (value) => halfValue(halfBits(Math.fround(value))),
};

export interface Scalars {
  readonly rate: number;
  readonly epsilon: number;
  readonly clipKind: number;
  readonly a: number;
  readonly b: number;
}

export interface Average {
  readonly kind: number;
  readonly momentum: number;
  readonly complement: number;
}

export function clipValue(dtype: DType, g: number, { clipKind, a, b }: Scalars): number {
  const r = rounding[dtype];
  const [ra, rb] = [r(a), r(b)];
  if (clipKind === 1) return r(g * ra);
  if (clipKind === 2) return r(r(g * ra) / rb);
  if (clipKind === 3) return Math.max(Math.min(g, ra), -ra);
  return g;
}

function stepped(dtype: DType, w: number, accumulator: number, g: number, scalars: Scalars): number {
  const r = rounding[dtype];
  const root = r(Math.sqrt(r(accumulator + r(scalars.epsilon))));
  return r(w - r(r(r(scalars.rate) * g) / root));
}

export function emaStep(dtype: DType, w: Float64Array, average: Float64Array, options: Average): void {
  const r = rounding[dtype];
  const [m, c] = [r(options.momentum), r(options.complement)];
  for (let i = 0; i < w.length; i++) {
    if (options.kind !== 0) average[i] = r(r(m * average[i]!) + r(c * w[i]!));
    if (options.kind === 2) w[i] = average[i]!;
  }
}

export function denseStep(
  dtype: DType,
  arrays: { w: Float64Array; accumulator: Float64Array; average: Float64Array; gradient: Float64Array },
  scalars: Scalars,
  options: Average,
): void {
  const r = rounding[dtype];
  const { w, accumulator, average, gradient } = arrays;
  for (let i = 0; i < w.length; i++) {
    const g = clipValue(dtype, gradient[i]!, scalars);
    accumulator[i] = r(accumulator[i]! + r(g * g));
    w[i] = stepped(dtype, w[i]!, accumulator[i]!, g, scalars);
  }
  emaStep(dtype, w, average, options);
}

export function rowsStep(
  dtype: DType,
  arrays: { w: Float64Array; accumulator: Float64Array; values: Float64Array },
  rowSize: number,
  indices: readonly number[],
  scalars: Scalars,
  perRow: boolean,
): void {
  const r = rounding[dtype];
  const { w, accumulator, values } = arrays;
  const slicesOf = new Map<number, number[]>();
  for (const [slice, row] of indices.entries()) slicesOf.set(row, [...(slicesOf.get(row) ?? []), slice]);
  for (const [row, slices] of slicesOf) {
    for (let column = 0; column < rowSize; column++) {
      const at = row * rowSize + column;
      let sum = 0;
      let accumulated = accumulator[at]!;
      for (const slice of slices) {
        const g = clipValue(dtype, values[slice * rowSize + column]!, scalars);
        sum = r(sum + g);
        if (!perRow) accumulated = r(accumulated + r(g * g));
      }
      if (perRow) accumulated = r(accumulated + r(sum * sum));
      accumulator[at] = accumulated;
      w[at] = stepped(dtype, w[at]!, accumulated, sum, scalars);
    }
  }
}
