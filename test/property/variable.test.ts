import { Runtime, Variable } from "@shardgrad/core";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { numberToHalf } from "../support/half.js";
import { rounding } from "../support/reference.js";
import { expectSameBits, valuesOf } from "../support/state.js";
import { nest } from "../support/twin.js";
import { dtype, Filler, palette, seed, shape } from "./arbitraries.js";

const whole = new Runtime({ threads: 0 });
const cut = new Runtime({ threads: 0, arenaBytes: 128 * 1024 });
afterAll(async () => {
  await whole.close();
  await cut.close();
});

test("a variable holds what it was given, rounded to its dtype, in any number of segments", () =>
  fc.assert(
    fc.property(shape, dtype, palette, seed, fc.boolean(), (dimensions, type, numbers, from, split) => {
      const size = dimensions.reduce((a, b) => a * b, 1);
      const values = new Filler(numbers, from).values(size);
      const nested = nest(values, dimensions) as number[];
      const options = { shape: dimensions, dtype: type, runtime: split ? cut : whole };
      const rounded = values.map(rounding[type]);
      const variable = new Variable(nested, options);
      expectSameBits(valuesOf(variable), rounded, "values");
      expect(variable.toArray()).toEqual(nest(rounded, dimensions));
      const other = Variable.zeros(dimensions, { dtype: type, runtime: options.runtime });
      if (size > 0) other.assign(nested);
      expectSameBits(valuesOf(other), rounded, "assigned");
      expect(other.segments.reduce((sum, { data }) => sum + data.length, 0)).toBe(size);
      variable.dispose();
      other.dispose();
    }),
    { numRuns: 150 },
  ));

test("float16 data are the bit patterns of the nearest halves", () =>
  fc.assert(
    fc.property(fc.array(fc.double({ noNaN: true }), { minLength: 1, maxLength: 40 }), (values) => {
      const variable = new Variable(values, { dtype: "float16", runtime: whole });
      expect([...variable.data]).toEqual(values.map(numberToHalf));
      variable.dispose();
    }),
  ));

test("variables that come and go never lie on top of one another", () =>
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(9000), fc.boolean()), { maxLength: 60 }), (actions) => {
      const runtime = new Runtime({ threads: 0, arenaBytes: 256 * 1024 });
      const live: { variable: Variable; value: number }[] = [];
      for (const [i, [size, drop]] of actions.entries()) {
        if (drop && live.length > 0) live.splice(size % live.length, 1)[0]!.variable.dispose();
        else
          live.push({
            variable: new Variable(new Float32Array(size).fill(i + 1), { runtime }),
            value: i + 1,
          });
      }
      for (const { variable, value } of live) {
        for (const { data } of variable.segments) if (!data.every((x) => x === value)) return false;
      }
      return true;
    }),
    { numRuns: 40 },
  ));
