import { beforeEach, expect, test } from "vitest";
import { expectSame, seeded } from "./data.js";
import { call, Floats, reset } from "./kernels.js";
import { halfBits, halfValue, rounding } from "./reference.js";

const patterns = [...Array(65_536).keys()];
const isNaNPattern = (bits: number) => (bits & 0x7fff) > 0x7c00;

beforeEach(reset);

test("every pattern to a number and back", () => {
  for (const bits of patterns) {
    const value = call("doubleFromHalf", bits);
    if (!Object.is(value, halfValue(bits))) expect.fail(`${bits} became ${value}`);
    const back = call("halfFromDouble", value);
    if (isNaNPattern(bits) ? !isNaNPattern(back) : back !== bits) expect.fail(`${bits} came back as ${back}`);
  }
});

test("numbers between two patterns round to the nearest, ties to even", () => {
  for (let bits = 0; bits < 0x7c00; bits++) {
    const low = halfValue(bits);
    const high = bits === 0x7bff ? 65_536 : halfValue(bits + 1);
    const middle = (low + high) / 2;
    const nudge = middle * 2 ** -50;
    const tie = bits % 2 === 0 ? bits : bits + 1;
    for (const [value, expected] of [
      [middle, tie],
      [middle - nudge, bits],
      [middle + nudge, bits + 1],
      [-middle, tie | 0x8000],
    ] as const) {
      const actual = call("halfFromDouble", value);
      if (actual !== expected) expect.fail(`${value} became ${actual}, not ${expected}`);
    }
  }
});

test("extremes", () => {
  for (const value of [
    1e300,
    -1e300,
    65_519.999,
    65_520,
    Infinity,
    2 ** -25,
    2 ** -26,
    5e-324,
    -5e-324,
    -0,
  ]) {
    expect(call("halfFromDouble", value), String(value)).toBe(halfBits(value));
  }
  expect(call("halfFromDouble", Number.NaN)).toBe(0x7e00);
});

test("bulk conversions", () => {
  const random = seeded(1);
  const values = Float64Array.from({ length: 1001 }, () => (random() - 0.5) * 2 ** (random() * 50 - 30));
  const source = new Floats("F64", values, 3);
  const target = new Floats("F16", new Float64Array(1001), 1);
  call("halfFromDoubles", source.at, target.at, 1001);
  const rounded = values.map((value) => halfValue(halfBits(value)));
  expectSame(target.read(), rounded, "halves");
  const back = new Floats("F64", new Float64Array(1001), 5);
  call("doublesFromHalf", target.at, back.at, 1001);
  expectSame(back.read(), rounded, "doubles");
});

test("vector arithmetic reads, rounds and writes every pattern", () => {
  const finite = Float64Array.from(patterns.map(halfValue));
  const values = new Floats("F16", finite);
  call("clipF16", values.at, 65_536, 1, 1, 0);
  expectSame(values.read(), finite, "times one");
  for (const factor of [0.333, 1.7, 2 ** -12]) {
    reset();
    const scaled = new Floats("F16", finite);
    call("clipF16", scaled.at, 65_536, 1, factor, 0);
    const half = rounding.F16(factor);
    // A product in float64 is exact, so this rounds once: rounding to float32 first makes no difference.
    expectSame(
      scaled.read(),
      finite.map((value) => halfValue(halfBits(value * half))),
      `times ${factor}`,
    );
  }
});
