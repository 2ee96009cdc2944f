import { MemoryExhaustedError } from "@shardgrad/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { thrownBy } from "../support/outcome.js";
import { variedRuntimes } from "../support/runtimes.js";
import { expectSameState } from "../support/state.js";
import { Twin } from "../support/twin.js";
import { dtype, exactOptions, Filler, mode, palette, seed } from "./arbitraries.js";

/** Whatever the order of resizes and steps, a table has the numbers of a plain array of the same rows. */

const rows = fc.oneof(fc.nat(40), fc.nat(40), fc.nat(3000));
const action = fc.oneof(
  fc.record({ kind: fc.constant("resize" as const), rows, values: fc.boolean(), mode }),
  fc.record({ kind: fc.constant("slices" as const), count: fc.nat(60), mode }),
  fc.record({ kind: fc.constant("dense" as const), mode }),
);
const rest = fc.constantFrom([], [1], [3], [16], [2, 5], [0], [33]);
const story = fc.array(action, { minLength: 2, maxLength: 14 });

describe.each(variedRuntimes())("$name", ({ runtime }) => {
  test("resizes and steps in any order, bit for bit", async () => {
    let withoutRoom = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(rows, rest, dtype),
        exactOptions,
        story,
        palette,
        seed,
        fc.boolean(),
        async ([first, dimensions, type], options, actions, numbers, from, built) => {
          const filler = new Filler(numbers, from);
          const twin = new Twin(runtime, options);
          const shape = [first, ...dimensions];
          const oracle = () => twin.oracles[0]!;
          twin.add(shape, filler.values(shape.reduce((a, b) => a * b, 1)), type);
          if (built) await twin.step([filler.dense(oracle())]);
          for (const [i, step] of actions.entries()) {
            if (step.kind === "resize") {
              const added = step.values ? { added: (count: number) => filler.values(count) } : {};
              await twin.resize(0, step.rows, { mode: step.mode, ...added });
            } else {
              const slices = step.kind === "slices" && oracle().shape[0]! > 0;
              const gradient = slices ? filler.slices(oracle(), step.count) : filler.dense(oracle());
              const before = twin.state();
              const failed = await thrownBy(() => twin.step([gradient], { mode: step.mode }));
              if (failed instanceof MemoryExhaustedError) {
                // Rare: such small memories have the room for a gradient, but not in one piece. Then nothing has changed.
                expectSameState(twin.state(), before, `${i}, no room`);
                withoutRoom++;
                return twin.dispose();
              }
              if (failed !== undefined) throw failed;
            }
            twin.expectSame(`${i}, ${step.kind}`);
            expect(twin.variables[0]!.shape).toEqual(oracle().shape);
            expect(twin.variables[0]!.size).toBe(oracle().values.length);
          }
          twin.dispose();
        },
      ),
      { numRuns: 60 },
    );
    expect(withoutRoom).toBeLessThan(3);
  });
});
