import { beforeEach, describe, expect, test } from "vitest";
import { clips, expectSame, numbers, oddNumbers, positives, seeded } from "./data.js";
import { call, type DType, dtypes, Floats, reset } from "./kernels.js";
import { type Average, denseStep, emaStep, type Scalars } from "./reference.js";

const averages: readonly Average[] = [0, 1, 2].map((kind) => ({ kind, momentum: 0.99, complement: 0.01 }));
const step = { rate: 0.1, epsilon: 1e-7 };
const everyTail = [...Array(68).keys()];
const longCounts = [4095, 4096, 4097, 10_007];

interface Arrays {
  w: Float64Array;
  accumulator: Float64Array;
  average: Float64Array;
  gradient: Float64Array;
}

function randomArrays(dtype: DType, count: number, seed: number): Arrays {
  const random = seeded(seed);
  return {
    w: numbers(dtype, count, random),
    accumulator: positives(dtype, count, random),
    average: numbers(dtype, count, random),
    gradient: numbers(dtype, count, random),
  };
}

function compareDense(dtype: DType, arrays: Arrays, scalars: Scalars, average: Average, offset = 0): void {
  reset();
  const [w, accumulator, ema, gradient] = [
    new Floats(dtype, arrays.w, offset),
    new Floats(dtype, arrays.accumulator, offset * 3),
    new Floats(dtype, arrays.average, offset * 5),
    new Floats(dtype, arrays.gradient, offset * 7),
  ];
  const { rate, epsilon, clipKind, a, b } = scalars;
  const { momentum, complement, kind } = average;
  // biome-ignore format: the arguments as the kernel groups them
  call(
    `adagradDense${dtype}`, w.at, accumulator.at, kind === 0 ? 0 : ema.at, gradient.at, w.count,
    rate, epsilon, clipKind, a, b, momentum, complement, kind,
  );
  const untouched = arrays.gradient.slice();
  denseStep(dtype, arrays, scalars, average);
  const what = `${dtype} count ${w.count} clip ${clipKind} average ${kind}`;
  expectSame(w.read(), arrays.w, `${what}: variable`);
  expectSame(accumulator.read(), arrays.accumulator, `${what}: accumulator`);
  expectSame(ema.read(), arrays.average, `${what}: average`);
  expectSame(gradient.read(), untouched, `${what}: gradient`);
}

beforeEach(reset);

describe.each(dtypes)("adagradDense%s", (dtype) => {
  test.each(clips)("clip kind $clipKind, every tail, with each use of the average", (clip) => {
    for (const average of averages) {
      for (const count of everyTail) {
        compareDense(dtype, randomArrays(dtype, count, count), { ...step, ...clip }, average);
      }
    }
  });

  test("long arrays, off every alignment", () => {
    for (const [i, count] of longCounts.entries()) {
      const arrays = randomArrays(dtype, count, count);
      compareDense(dtype, arrays, { ...step, ...clips[i]! }, averages[i % 3]!, i * 2 + 1);
    }
  });

  test.each(clips)("odd numbers against each other, clip kind $clipKind", (clip) => {
    const odd = oddNumbers(dtype);
    const gradient = Float64Array.from(odd.flatMap((g) => odd.map(() => g)));
    const others = Float64Array.from(odd.flatMap(() => odd));
    for (const average of averages) {
      const arrays = { w: others.slice(), accumulator: others.slice(), average: others.slice(), gradient };
      compareDense(dtype, arrays, { ...step, ...clip }, average);
      const fixed = { w: others.slice(), accumulator: gradient.map(() => 0.1).map((x) => rounded(dtype, x)) };
      compareDense(dtype, { ...fixed, average: others.slice(), gradient }, { ...step, ...clip }, average);
    }
  });
});

function rounded(dtype: DType, value: number): number {
  reset();
  return new Floats(dtype, [value]).read()[0]!;
}

describe.each(dtypes)("ema%s", (dtype) => {
  test("every tail, long arrays, off alignment, odd numbers", () => {
    const odd = Float64Array.from(oddNumbers(dtype));
    const inputs = [...everyTail, ...longCounts].map((count) => randomArrays(dtype, count, count));
    inputs.push({ w: odd, average: odd.slice().reverse(), accumulator: odd, gradient: odd });
    for (const average of averages) {
      for (const [i, input] of inputs.entries()) {
        reset();
        const [w, ema] = [input.w.slice(), input.average.slice()];
        const [kernelW, kernelEma] = [new Floats(dtype, w, i % 5), new Floats(dtype, ema, i % 7)];
        const { momentum, complement, kind } = average;
        call(`ema${dtype}`, kernelW.at, kernelEma.at, w.length, momentum, complement, kind);
        emaStep(dtype, w, ema, average);
        expectSame(kernelW.read(), w, `variable of ${w.length}`);
        expectSame(kernelEma.read(), ema, `average of ${w.length}`);
      }
    }
  });
});

test("value clipping keeps NaN and bounds infinities", () => {
  const values = new Floats("F32", [Number.NaN, Infinity, -Infinity, -0, 2]);
  call("clipF32", values.at, 5, 3, 1, 0);
  expect([...values.read()]).toEqual([Number.NaN, 1, -1, -0, 1]);
});
