import fc from "fast-check";
import { describe, test } from "vitest";
import { type ReferenceGradient, rounding } from "../support/reference.js";
import { variedRuntimes } from "../support/runtimes.js";
import { Twin } from "../support/twin.js";
import {
  dtype,
  exactOptions,
  Filler,
  formName,
  forms,
  mode,
  palette,
  seed,
  shape,
  tableShape,
  tamePalette,
} from "./arbitraries.js";

/** Whatever is thrown at it, on whatever device, the optimizer computes what the plain reference computes. */

describe.each(variedRuntimes())("$name", ({ runtime }) => {
  const { make, release } = forms(runtime);

  test("dense steps, bit for bit", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(shape, dtype), { minLength: 1, maxLength: 4 }),
        exactOptions,
        palette,
        seed,
        fc.array(fc.record({ mode, formName, leaveOut: fc.nat(6) }), { minLength: 1, maxLength: 3 }),
        async (variables, options, numbers, from, steps) => {
          const filler = new Filler(numbers, from);
          const twin = new Twin(runtime, options);
          for (const [dimensions, type] of variables) {
            twin.add(dimensions, filler.values(dimensions.reduce((a, b) => a * b, 1)), type);
          }
          for (const [s, { leaveOut, ...step }] of steps.entries()) {
            // Not in the first step: it decides which variables the optimizer knows.
            const skipped = s > 0 && variables.length > 1 ? leaveOut : -1;
            const gradients = twin.oracles.map((oracle, i) => (i === skipped ? null : filler.dense(oracle)));
            await twin.step(gradients, { mode: step.mode, form: make[step.formName]! });
            twin.expectSame(`step ${s}`);
            release();
          }
          twin.dispose();
        },
      ),
      { numRuns: 60 },
    ));

  test("sparse steps with duplicates, bit for bit", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(tableShape, dtype, fc.nat(100)), { minLength: 1, maxLength: 3 }),
        exactOptions,
        palette,
        seed,
        fc.array(fc.record({ mode, formName }), { minLength: 1, maxLength: 3 }),
        async (variables, options, numbers, from, steps) => {
          const filler = new Filler(numbers, from);
          const twin = new Twin(runtime, options);
          for (const [dimensions, type] of variables) {
            twin.add(dimensions, filler.values(dimensions.reduce((a, b) => a * b, 1)), type);
          }
          for (const [s, step] of steps.entries()) {
            const gradients = twin.oracles.map((oracle, i) =>
              filler.slices(oracle, Math.min(variables[i]![2], 2 * oracle.shape[0]!)),
            );
            await twin.step(gradients, { mode: step.mode, form: make[step.formName]! });
            twin.expectSame(`step ${s}`);
            release();
          }
          twin.dispose();
        },
      ),
      { numRuns: 60 },
    ));

  // The reference adds squares one by one in float64, the library in blocks; and each is rounded once more on
  // the way to the scale. 4e-6 relative is some 30 of float32's roundings, over three steps.
  test("steps that clip by a norm, within 4e-6", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(tableShape, fc.nat(60)), { minLength: 1, maxLength: 3 }),
        fc.constantFrom({ clipnorm: 1 }, { clipnorm: 1e3 }, { globalClipnorm: 0.3 }, { globalClipnorm: 1e3 }),
        tamePalette,
        seed,
        mode,
        fc.boolean(),
        async (variables, clip, numbers, from, how, sparse) => {
          const filler = new Filler(numbers, from);
          const twin = new Twin(runtime, { learningRate: 0.1, ...clip });
          for (const [dimensions] of variables) {
            twin.add(dimensions, filler.values(dimensions.reduce((a, b) => a * b, 1)));
          }
          const gradient = (i: number): ReferenceGradient =>
            sparse ? filler.slices(twin.oracles[i]!, variables[i]![1]) : filler.dense(twin.oracles[i]!);
          for (let s = 0; s < 3; s++)
            await twin.step(
              variables.map((_, i) => gradient(i)),
              { mode: how },
            );
          twin.expectClose({ rtol: 4e-6, atol: 1e-6 });
          twin.dispose();
        },
      ),
      { numRuns: 30 },
    ));
});

test("the oracle rounds to the nearest half", () => {
  fc.assert(
    fc.property(fc.double({ min: -70_000, max: 70_000, noNaN: true }), (value) => {
      const rounded = rounding.float16(value);
      if (!Number.isFinite(rounded)) return Math.abs(value) >= 65_520;
      const unit = Math.max(2 ** (Math.floor(Math.log2(Math.abs(value) || 2 ** -24)) - 10), 2 ** -24);
      return Math.abs(value - rounded) <= unit / 2 && Number.isInteger(rounded / 2 ** -24);
    }),
  );
});
