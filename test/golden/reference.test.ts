import { expect, test } from "vitest";
import { type GoldenGradient, golden, number, numbers, type Trajectory } from "../support/golden.js";
import {
  Reference,
  type ReferenceGradient,
  type ReferenceOptions,
  ReferenceVariable,
} from "../support/reference.js";
import { expectSameBits } from "../support/state.js";

/**
 * The oracle of the property tests is itself held to the recorded data, on the cases that need nothing but
 * plain gradients (schedules, departures and norms that TensorFlow sums in its own order are left out).
 */

const families = ["dense", "edge", "clipping", "ema", "sparse", "dtypes", "denormal"];
const departures = /untouched_rows_acc0_eps0|poisons_untouched/;

function plain(recorded: Trajectory): boolean {
  const isExact = recorded.match === "exact";
  const hasNumericRate = typeof recorded.constructor.learning_rate !== "object";
  return isExact && hasNumericRate && !departures.test(recorded.name) && !recorded.steps.some((s) => s.error);
}

function gradientOf(recorded: GoldenGradient): ReferenceGradient | null {
  if (recorded === null) return null;
  if ("dense" in recorded) return { dense: numbers(recorded.dense) };
  return { indices: recorded.indices, values: recorded.values.flatMap(numbers) };
}

function optionsOf({ constructor: recorded }: Trajectory): ReferenceOptions {
  const get = (key: string) => {
    const value = recorded[key];
    return typeof value === "string" ? Number(value) : value;
  };
  const pairs = Object.entries({
    learningRate: get("learning_rate"),
    initialAccumulatorValue: get("initial_accumulator_value"),
    epsilon: get("epsilon"),
    clipnorm: get("clipnorm"),
    clipvalue: get("clipvalue"),
    globalClipnorm: get("global_clipnorm"),
    useEma: get("use_ema"),
    emaMomentum: get("ema_momentum"),
    emaOverwriteFrequency: get("ema_overwrite_frequency"),
  });
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined)) as ReferenceOptions;
}

for (const family of families) {
  test(`the reference follows ${family} bit for bit`, () => {
    const cases = golden(family).filter(plain);
    expect(cases.length).toBeGreaterThan(0);
    for (const recorded of cases) {
      const variables = recorded.variables.map(
        (v) => new ReferenceVariable(v.dtype, v.shape, numbers(v.initial)),
      );
      const reference = new Reference(optionsOf(recorded));
      if (recorded.set_iterations !== undefined) reference.iterations = recorded.set_iterations;
      recorded.steps.forEach((step, s) => {
        if (step.set_learning_rate !== undefined)
          reference.learningRate = Math.fround(step.set_learning_rate);
        reference.step(step.gradients.map((g, k) => [gradientOf(g), variables[step.order?.[k] ?? k]!]));
        const at = `${recorded.name} step ${s}`;
        expect(reference.learningRate, at).toBe(number(step.learning_rate));
        for (const [i, { values }] of variables.entries()) {
          expectSameBits(values, numbers(step.variables[i]!), `${at} variable ${i}`);
        }
        recorded.build_order?.forEach((i, slot) => {
          const { accumulator, average } = variables[i]!;
          expectSameBits(accumulator, numbers(step.accumulators![slot]!), `${at} accumulator ${slot}`);
          if (step.averages) expectSameBits(average, numbers(step.averages[slot]!), `${at} average ${slot}`);
        });
      });
    }
  });
}
