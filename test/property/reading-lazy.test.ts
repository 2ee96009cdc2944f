import { type DType, Variable } from "@shardgrad/core";
import fc from "fast-check";
import { describe, test } from "vitest";
import { halfToNumber } from "../support/half.js";
import type { ReferenceOptions } from "../support/reference.js";
import { variedRuntimes } from "../support/runtimes.js";
import { expectSameBits, valuesOf } from "../support/state.js";
import { Twin } from "../support/twin.js";
import { dtype, Filler, palette, seed } from "./arbitraries.js";

describe("averages that are kept lazily", () => {
  // The smallest memories have no room for lazy blocks beside a segment of the largest size.
  const devices = variedRuntimes().filter(({ name }) => !name.includes("512 KiB"));
  const options = fc.record({
    emaMomentum: fc.constantFrom(0, 0.3, 0.9, 0.9999, 1),
    emaOverwriteFrequency: fc.constantFrom(null, 1, 2, 5),
    learningRate: fc.constantFrom(0.1, 1),
  });
  const touch = fc.constantFrom("slices", "slices", "few", "dense", "grow", "shrink" as const);
  const touches = fc.array(touch, { minLength: 1, maxLength: 10 });

  // Some of the first are cut into several memories.
  const fewWideRows = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 1000 }));
  const manyRows = fc.tuple(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 20 }));

  test("are read as `materialize` leaves them, to the bit", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...devices),
        fc.oneof(fewWideRows, manyRows),
        dtype,
        options,
        touches,
        palette,
        seed,
        async ({ runtime }, shape, type: DType, chosen, steps, numbersOf, from) => {
          const filler = new Filler(numbersOf, from);
          const twin = new Twin(runtime, { ...chosen, useEma: true, sparseEma: "lazy" } as ReferenceOptions);
          twin.add(shape, filler.values(shape[0] * shape[1]), type);
          const oracle = twin.oracles[0]!;
          const [table] = twin.variables as [Variable];
          twin.optimizer.build([table]);
          const [average] = twin.optimizer.averages as [Variable];
          const early = [table, average].map((variable) => Variable.attach(variable.handle()));
          // Rows that came later can lie in other memory.
          let known = shape[0];
          for (const touch of steps) {
            const rows = oracle.shape[0]!;
            if (touch === "grow" || touch === "shrink") {
              const after = touch === "grow" ? rows + 1 + (from % 60) : Math.ceil(rows / 2);
              await twin.resize(0, after, { added: (count) => filler.values(count) });
              known = Math.min(known, after);
              continue;
            }
            const slices = { slices: Math.ceil(rows / 3), few: 1, dense: -1 }[touch];
            await twin.step([slices < 0 ? filler.dense(oracle) : filler.slices(oracle, slices)], {
              withNull: false,
            });
          }
          const rows = Array.from({ length: oracle.shape[0]! }, (_, row) => row);
          const both = [table, average].map((variable, i) => ({
            variable,
            early: decoded(early[i]!.gather(rows.slice(0, known)), type),
            own: decoded(variable.gather(rows), type),
            attached: decoded(Variable.attach(variable.handle()).gather(rows), type),
            array: (variable.toArray() as number[][]).flat(),
          }));
          await table.materialize();
          for (const { variable, early, own, attached, array } of both) {
            const stored = valuesOf(variable);
            expectSameBits(early, stored.slice(0, early.length), `${variable.name}: early: `);
            expectSameBits(own, stored, `${variable.name}: gather: `);
            expectSameBits(attached, stored, `${variable.name}: attached: `);
            expectSameBits(array, stored, `${variable.name}: toArray: `);
          }
          twin.dispose();
        },
      ),
      { numRuns: 120 },
    );
  });
});

/** Bits of float16 as numbers, with all NaNs alike. */
function decoded(values: ArrayLike<number>, type: DType): number[] {
  return type === "float16" ? Array.from(values, halfToNumber) : Array.from(values);
}
