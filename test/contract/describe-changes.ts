import { Adagrad, type AdagradOptions, type Runtime } from "@shardgrad/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { thrownBy } from "../support/outcome.js";
import { Random } from "../support/random.js";
import { type GradientForm, Renewed } from "../support/renewed.js";
import type { MakeRuntime } from "./describe-device.js";

/** What is changed between two steps. */
type Change = (twins: Renewed, number: number, amount: number) => unknown;

const changes: Readonly<Record<string, Change>> = {
  nothing: () => {},
  "a larger variable": (twins, i, n) => twins.both(i, (v) => v.resizeRows(v.shape[0]! + n)),
  "a smaller variable": (twins, i, n) => twins.both(i, (v) => v.resizeRows(Math.max(1, v.shape[0]! - n))),
  "another size and back": (twins, i, n) =>
    twins.both(i, async (v) => {
      const rows = v.shape[0]!;
      await v.resizeRows(rows + n);
      await v.resizeRows(rows);
    }),
  "a disposed variable": (twins, i) => {
    if (twins.alive.length > 2) return twins.both(i, (v) => v.dispose());
  },
  "the rate": (twins, _, n) => {
    twins.rate = n / 8;
  },
  "the values": (twins, i, n) => twins.both(i, (v) => v.assign(new Float32Array(v.size).fill(n))),
  "the accumulator": (twins, i, n) =>
    twins.onAccumulators(i, (slot) => slot.assign(new Float32Array(slot.size).fill(n))),
  "the place, for readers on other threads": (twins, i) => twins.both(i, (v) => v.handle()),
  "steps of another optimizer": (twins, i, n) =>
    twins.both(i, async (v) => {
      const other = new Adagrad({ runtime: twins.runtime, useEma: true });
      await other.applyGradients([[new Float32Array(v.size).fill(n), v]]);
      other.dispose();
    }),
  "refused steps": async (twins, i) => {
    const [variable] = twins.pairs[i]!;
    const gradient = new Float32Array(variable.size);
    const step = (...gradients: unknown[]) =>
      thrownBy(() => twins.kept.applyGradients(gradients.map((g) => [g, variable] as never)));
    const errors = [
      await step(gradient, gradient),
      await step(new Float32Array(variable.size + 1)),
      await step(new Float64Array(variable.size)),
      await step(null),
      await step(detached(variable.size)),
    ];
    const names = ["DuplicateVariableError", "ShapeError", "DtypeError", "NoGradientsError", "ShapeError"];
    expect(errors.map((error) => (error as Error).name)).toEqual(names);
  },
};

function detached(size: number): Float32Array {
  const array = new Float32Array(size);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

/**
 * An optimizer keeps from its last steps what it can use again. Whatever changes between two steps, the next one has the
 * bits of an optimizer that was made for it.
 */
export function describeChanges(
  name: string,
  makeRuntime: MakeRuntime,
  { meansInFloat32 = false, sync = true }: { meansInFloat32?: boolean; sync?: boolean } = {},
): void {
  describe(`${name}, changes between steps`, () => {
    let runtime: Runtime;
    beforeAll(async () => {
      runtime = makeRuntime();
      await runtime.ready();
    });
    afterAll(() => runtime.close());

    function twinsOf(seed: number, options: AdagradOptions): Renewed {
      const twins = new Renewed(runtime, new Random(seed), options);
      for (const [rows, width] of [
        [3, 5],
        [40, 2],
        [1, 1],
        [7, 9],
      ] as const) {
        twins.add(rows, width, width === 2 ? { reserveRows: 60 } : {});
      }
      return twins;
    }

    /** A step over all variables that there are. */
    const all = (twins: Renewed, form: GradientForm = "dense") =>
      twins.step(twins.alive.map((number) => [number, form]));

    const averages = { useEma: true, emaMomentum: 0.9, emaOverwriteFrequency: 3 };
    const kinds: Record<string, AdagradOptions> = {
      plain: {},
      "clipnorm and averages": { clipnorm: 0.5, ...averages },
      "global norm": { globalClipnorm: 0.5 },
    };

    // Devices that pretend take longer; what they keep is of all kinds in the sequences below.
    describe.each(Object.entries(kinds).filter(([kind]) => sync || kind === "clipnorm and averages"))(
      "%s",
      (_, options) => {
        test.each(Object.entries(changes))("%s", async (_, change) => {
          const twins = twinsOf(1, options);
          await all(twins);
          await all(twins);
          await change(twins, 1, 4);
          await all(twins);
          await all(twins);
          await change(twins, 0, 2);
          await all(twins);
          twins.dispose();
        });
      },
    );

    test("slices and gradients of every form take turns", async () => {
      const twins = twinsOf(2, averages);
      for (const form of ["dense", "slices", "dense", "nested", "lent", "dense", "slices"] as const)
        await all(twins, form);
      await twins.step([
        [2, "dense"],
        [0, "lent"],
        [3, "slices"],
        [1, "null"],
      ]);
      await twins.step([
        [3, "lent"],
        [0, "dense"],
      ]);
      await all(twins);
      twins.dispose();
    });

    const form = fc.constantFrom<GradientForm>("dense", "dense", "dense", "lent", "nested", "slices", "null");
    const numbers = fc.record({
      change: fc.constantFrom(...Object.keys(changes)),
      number: fc.nat({ max: 3 }),
      amount: fc.integer({ min: 1, max: 30 }),
      order: fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 4 }),
      forms: fc.array(form, { minLength: 4, maxLength: 4 }),
      everything: fc.boolean(),
      sync: fc.boolean(),
    });

    test("any sequence of them", () =>
      fc.assert(
        fc.asyncProperty(
          fc.constantFrom(
            {},
            { clipvalue: 0.5, ...averages },
            { clipnorm: 0.5 },
            { globalClipnorm: 0.5, ...averages },
            ...(meansInFloat32 ? [] : [{ accumulator: "rowwise" as const }]),
          ),
          fc.array(numbers, { minLength: 3, maxLength: 8 }),
          async (options, sequence) => {
            const twins = twinsOf(3, options);
            await all(twins);
            for (const { change, number, amount, order, forms, everything, ...how } of sequence) {
              const { alive } = twins;
              await changes[change]!(twins, alive[number % alive.length]!, amount);
              const left = twins.alive;
              const chosen = everything ? left : [...new Set(order.map((i) => left[i % left.length]!))];
              const steps = chosen.map((i) => [i, everything ? "dense" : forms[i]!] as const);
              // A step without any gradient is refused.
              if (steps.some(([, form]) => form !== "null")) await twins.step(steps, how.sync && sync);
            }
            twins.dispose();
          },
        ),
        // Devices that pretend take longer.
        { numRuns: sync ? 25 : 8 },
      ));
  });
}
