// Inputs for the kernel tests.
import { expect } from "vitest";
import type { DType } from "./kernels.js";
import { rounding, type Scalars } from "./reference.js";

export type Random = () => number;

/** A small seeded generator (mulberry32), uniform in [0, 1). */
export function seeded(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Numbers of the dtype of both signs, over several magnitudes. */
export function numbers(dtype: DType, count: number, random: Random): Float64Array {
  return Float64Array.from({ length: count }, () =>
    rounding[dtype]((random() - 0.5) * 2 ** Math.floor(random() * 8 - 5)),
  );
}

export function positives(dtype: DType, count: number, random: Random): Float64Array {
  return numbers(dtype, count, random).map((value) => rounding[dtype](Math.abs(value) + 0.01));
}

/** What goes wrong when something does: zeros of both signs, subnormals, extremes, infinities, NaN. */
export function oddNumbers(dtype: DType): number[] {
  const smallest = { F32: 2 ** -149, F64: 2 ** -1074, F16: 2 ** -24 }[dtype];
  const largest = { F32: (2 - 2 ** -23) * 2 ** 127, F64: Number.MAX_VALUE, F16: 65_504 }[dtype];
  const plus = [
    0,
    smallest,
    3 * smallest,
    1000 * smallest,
    1e-5,
    0.5,
    1,
    300,
    largest / 3,
    largest,
    Infinity,
  ];
  return [...plus, ...plus.map((value) => -value), NaN].map(rounding[dtype]);
}

/** The clip kinds with scalars that make a difference. */
export const clips: readonly Pick<Scalars, "clipKind" | "a" | "b">[] = [
  { clipKind: 0, a: 0, b: 0 },
  { clipKind: 1, a: 0.37, b: 0 },
  { clipKind: 2, a: 0.7, b: 3.3 },
  { clipKind: 3, a: 0.05, b: 0 },
];

const words = new BigUint64Array(1);
const double = new Float64Array(words.buffer);

function bitsOf(value: number): bigint {
  double[0] = Number.isNaN(value) ? Number.NaN : value;
  return words[0]!;
}

/** Equal bit for bit (any NaN equals any NaN). */
export function expectSame(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (bitsOf(actual[i]!) !== bitsOf(expected[i]!)) {
      expect.fail(`${what}: element ${i} is ${actual[i]}, not ${expected[i]}`);
    }
  }
}
