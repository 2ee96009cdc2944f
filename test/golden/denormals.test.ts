import { Runtime } from "@shardgrad/core";
import { afterAll, expect, test } from "vitest";
import { type GoldenGradient, golden, numbers, type Trajectory } from "../support/golden.js";
import { goldenOptions, runTrajectory } from "../support/library.js";
import { Reference, type ReferenceOptions, ReferenceVariable } from "../support/reference.js";
import { expectSameBits } from "../support/state.js";

/**
 * TensorFlow's kernels flush denormals to zero; Shardgrad computes with them as IEEE 754 says. The recorded
 * inputs of these cases are run against the reference instead of against the recorded results.
 */

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

const cases = golden("denormal").filter(({ match }) => match === "flush");

test("there are such cases", () => expect(cases.length).toBe(4));

test.each(cases)("$name keeps IEEE denormals", async (recorded: Trajectory) => {
  const trace = await runTrajectory(recorded, runtime, "async");
  const variable = recorded.variables[0]!;
  const oracle = new ReferenceVariable("float32", variable.shape, numbers(variable.initial));
  const reference = new Reference(goldenOptions(recorded.constructor) as ReferenceOptions);
  recorded.steps.forEach(({ gradients }, s) => {
    const [gradient] = gradients as [Exclude<GoldenGradient, null>];
    reference.step([["dense" in gradient ? { dense: numbers(gradient.dense) } : fail(), oracle]]);
    const state = trace.states[s]!;
    expectSameBits(state.variables[0]!, oracle.values, `step ${s} variable`);
    expectSameBits(state.accumulators[0]!, oracle.accumulator, `step ${s} accumulator`);
    if (state.averages[0]) expectSameBits(state.averages[0], oracle.average, `step ${s} average`);
  });
});

function fail(): never {
  throw new Error("a dense gradient was expected");
}
