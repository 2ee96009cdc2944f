import type { AdagradOptions, DType } from "@shardgrad/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ReferenceGradient, ReferenceOptions } from "../support/reference.js";
import { variedRuntimes } from "../support/runtimes.js";
import { expectSameState, type State, valuesOf } from "../support/state.js";
import { Twin } from "../support/twin.js";
import { dtype, Filler, mode, seed, tamePalette } from "./arbitraries.js";

/** What a step does with each of two tables: nothing, slices of some rows (none too), a dense gradient. */
const touch = fc.constantFrom("out", "slices", "slices", "slices", "few", "none", "dense" as const);
const step = fc.record({ touches: fc.tuple(touch, touch), materialize: fc.constantFrom(false, false, true) });

const options = fc.record({
  learningRate: fc.constantFrom(0.01, 0.1, 1),
  emaMomentum: fc.constantFrom(0, 0.3, 0.9, 0.99, 0.9999, 1),
  emaOverwriteFrequency: fc.constantFrom(null, 1, 2, 5, 11),
  clipvalue: fc.constantFrom(null, 0.5),
  duplicateIndices: fc.constantFrom("perSlice" as const, "perRow" as const),
  accumulator: fc.constantFrom("elementwise" as const, "rowwise" as const),
});

interface Run {
  readonly twin: Twin;
  /** The largest number that a variable or an average had. */
  readonly largest: number;
}

type Touch = "out" | "slices" | "few" | "none" | "dense";

function gradient(filler: Filler, twin: Twin, table: number, kind: Touch): ReferenceGradient | null {
  const oracle = twin.oracles[table]!;
  if (kind === "out") return null;
  if (kind === "dense") return filler.dense(oracle);
  return filler.slices(oracle, { slices: Math.ceil(oracle.shape[0]! / 4), few: 2, none: 0 }[kind]);
}

describe("lazy averages", () => {
  const devices = variedRuntimes();

  /** The same steps on one device, the reference beside it. */
  async function run(
    device: number,
    rows: readonly [number, number],
    width: number,
    type: DType,
    chosen: object,
    steps: readonly { touches: readonly [Touch, Touch]; materialize: boolean }[],
    filler: Filler,
    how: "async" | "sync",
  ): Promise<Run> {
    const all = { ...chosen, useEma: true, sparseEma: "lazy" } as ReferenceOptions &
      Pick<AdagradOptions, "sparseEma">;
    const twin = new Twin(devices[device]!.runtime, all);
    for (const count of rows) twin.add([count, width], filler.values(count * width), type);
    twin.optimizer.build(twin.variables);
    let largest = 1;
    for (const { touches, materialize } of steps) {
      const gradients = touches.map((kind, table) => gradient(filler, twin, table, kind));
      if (gradients.every((item) => item === null)) continue;
      await twin.step(gradients, { mode: how, withNull: false });
      for (const { values, average } of twin.oracles) {
        largest = [...values, ...average].reduce((most, value) => Math.max(most, Math.abs(value)), largest);
      }
      if (materialize) await twin.variables[0]!.materialize();
    }
    return { twin, largest };
  }

  const table = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 3000 }));
  const story = fc.array(step, { minLength: 1, maxLength: 40 });

  test("are the eager ones up to rounding, and so are the variables that take them over", () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: devices.length - 1 }),
        table,
        fc.integer({ min: 1, max: 9 }),
        dtype,
        options,
        story,
        tamePalette,
        seed,
        mode,
        async (device, rows, width, type, chosen, steps, palette, from, how) => {
          const filler = new Filler(palette, from);
          const { twin, largest } = await run(device, rows, width, type, chosen, steps, filler, how);
          for (const variable of twin.variables) await variable.materialize();
          expectWithinBound(twin, type, steps.length * largest);
          twin.dispose();
        },
      ),
      { numRuns: 150 },
    ));

  test("have the same bits on every device, rows that are behind included", () =>
    fc.assert(
      fc.asyncProperty(
        table,
        fc.integer({ min: 1, max: 9 }),
        dtype,
        options,
        story,
        seed,
        mode,
        async (rows, width, type, chosen, steps, from, how) => {
          const states: State[] = [];
          for (const [i] of devices.entries()) {
            const { twin } = await run(i, rows, width, type, chosen, steps, new Filler([1], from), how);
            states.push(twin.state());
            twin.dispose();
          }
          for (const [i, state] of states.entries()) expectSameState(state, states[0]!, devices[i]!.name);
        },
      ),
      { numRuns: 15 },
    ));

  test("rows that every step touches are the eager ones to the bit", () =>
    fc.assert(
      fc.asyncProperty(
        dtype,
        options,
        fc.integer({ min: 1, max: 12 }),
        seed,
        async (type, chosen, steps, from) => {
          const filler = new Filler([0.5], from);
          const all = { ...chosen, useEma: true, sparseEma: "lazy" } as ReferenceOptions;
          const twin = new Twin(devices[0]!.runtime, all);
          twin.add([9, 3], filler.values(27), type);
          for (let i = 0; i < steps; i++) {
            const indices = [...Array(9).keys()];
            await twin.step([{ indices, values: filler.values(27) }]);
          }
          twin.expectSame();
          twin.dispose();
        },
      ),
      { numRuns: 40 },
    ));
});

/**
 * Each eager average rounds three times and momentum and complement once each, so that it is within 4 unit roundoffs of
 * the exact one, of the largest number there is; the closed form is within as many, however many averages it stands
 * for. Updates add one roundoff of the difference each. 12 roundoffs a step cover both sides.
 */
function expectWithinBound(twin: Twin, type: DType, stepsTimesLargest: number): void {
  const roundoff = { float16: 2 ** -11, float32: 2 ** -24, float64: 2 ** -53 }[type];
  const bound = 12 * roundoff * stepsTimesLargest;
  twin.oracles.forEach((oracle, i) => {
    const variable = valuesOf(twin.variables[i]!);
    expect(farthest(variable, oracle.values), `variable ${i}`).toBeLessThanOrEqual(bound);
    // The reference makes its averages when a table is first in a step.
    if (oracle.average.length === 0) return;
    expect(
      farthest(valuesOf(twin.optimizer.averages[i]!), oracle.average),
      `average ${i}`,
    ).toBeLessThanOrEqual(bound);
  });
}

function farthest(actual: Float64Array, expected: Float64Array): number {
  return actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
}
