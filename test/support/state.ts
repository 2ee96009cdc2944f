import type { Adagrad, Optimizer, Variable } from "@shardgrad/core";
import { expect } from "vitest";
import { halfToNumber } from "./half.js";

/** Every element of a variable as a number, in order, through its segments; a float16 is decoded. */
export function valuesOf(variable: Variable): Float64Array {
  const values = new Float64Array(variable.size);
  for (const { start, data } of variable.segments) {
    if (variable.dtype === "float16") values.set(Float64Array.from(data, halfToNumber), start);
    else values.set(data, start);
  }
  return values;
}

export interface State {
  readonly iterations: number;
  readonly learningRate: number;
  readonly variables: readonly Float64Array[];
  readonly accumulators: readonly Float64Array[];
  readonly averages: readonly Float64Array[];
}

/** Everything a step can change, copied. */
export function stateOf(
  optimizer: Optimizer & Partial<Pick<Adagrad, "accumulators">>,
  variables: readonly Variable[],
): State {
  return {
    iterations: optimizer.iterations,
    learningRate: optimizer.learningRate,
    variables: variables.map(valuesOf),
    accumulators: (optimizer.accumulators ?? []).map(valuesOf),
    averages: optimizer.averages.map(valuesOf),
  };
}

/** Where two lists first differ, as text; zero signs count, a NaN equals any NaN. */
export function firstDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): string | null {
  if (actual.length !== expected.length) return `length ${actual.length}, expected ${expected.length}`;
  for (let i = 0; i < actual.length; i++) {
    if (!Object.is(actual[i], expected[i]))
      return `[${i}] is ${show(actual[i]!)}, expected ${show(expected[i]!)}`;
  }
  return null;
}

function show(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

export function expectSameBits(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  const difference = firstDifference(actual, expected);
  if (difference !== null) expect.fail(`${what}${difference}`);
}

/** `abs(a - b) <= atol + rtol * abs(b)`; NaN equals NaN, infinities equal themselves. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { rtol, atol }: { rtol: number; atol: number },
  what: string,
): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i]!;
    const b = expected[i]!;
    if (Object.is(a, b) || Math.abs(a - b) <= atol + rtol * Math.abs(b)) continue;
    expect.fail(`${what}[${i}] is ${a}, expected ${b} within ${atol} + ${rtol} * |${b}|`);
  }
}

/** Fails unless both states agree in every bit. */
export function expectSameState(actual: State, expected: State, what = ""): void {
  expectSameBits([actual.iterations], [expected.iterations], `${what} iterations`);
  expectSameBits([actual.learningRate], [expected.learningRate], `${what} learningRate`);
  for (const part of ["variables", "accumulators", "averages"] as const) {
    expect(actual[part].length, `${what} number of ${part}`).toBe(expected[part].length);
    for (const [i, values] of actual[part].entries()) {
      expectSameBits(values, expected[part][i]!, `${what} ${part}[${i}]`);
    }
  }
}
