import { Adagrad, type AdagradOptions, type GradientPair, Runtime, Variable } from "@shardgrad/core";
import type { StepPlan } from "@shardgrad/workers";
import { describe, expect, test } from "vitest";

/** A runtime, and the plans that its device is given. */
function watched(): { runtime: Runtime; plans: StepPlan[] } {
  const runtime = new Runtime({ threads: 0 });
  const plans: StepPlan[] = [];
  const internals = (runtime as never)[Symbol.for("shardgrad.runtime")] as {
    device: { run(plan: StepPlan): unknown };
  };
  const { device } = internals;
  const run = device.run.bind(device);
  device.run = (plan) => {
    plans.push(plan);
    return run(plan);
  };
  return { runtime, plans };
}

async function training(options: AdagradOptions = {}) {
  const { runtime, plans } = watched();
  const variables = [3, 4, 5].map((rows) => Variable.ones([rows, 2], { runtime }));
  const optimizer = new Adagrad({ ...options, runtime });
  const step = async (chosen = variables, slices = false): Promise<StepPlan> => {
    const pairs = chosen.map((variable): GradientPair => {
      if (slices) return [{ indices: [1], values: new Float32Array(2).fill(1) }, variable];
      return [new Float32Array(variable.size).fill(1), variable];
    });
    await optimizer.applyGradients(pairs);
    return plans[plans.length - 1]!;
  };
  return { runtime, optimizer, variables, step, first: await step() };
}

describe("the updates of an optimizer's plans", () => {
  test("are the same list as long as nothing changes but rates and gradients", async () => {
    const { optimizer, step, first } = await training();
    optimizer.learningRate = 0.5;
    const second = await step();
    expect(second.updates).toBe(first.updates);
    expect(second.updates.map(({ learningRate }) => learningRate)).toEqual([0.5, 0.5, 0.5]);
    expect(first.alike).toBeDefined();
    expect(second.alike).toBe(first.alike);
  });

  test("of other lists of variables are known, but not alike", async () => {
    const { variables, step, first } = await training();
    const [a, b, c] = variables as [Variable, Variable, Variable];
    const reversed = await step([c, b, a]);
    expect(reversed.updates).toEqual([...first.updates].reverse());
    expect(reversed.updates[0]).toBe(first.updates[2]);
    expect(reversed.alike).not.toBe(first.alike);
    const fewer = await step([a, c]);
    expect(fewer.updates[1]).toBe(first.updates[2]);
    expect(fewer.alike).not.toBe(first.alike);
  });

  test("with slices are alike to nothing", async () => {
    const { step } = await training();
    expect((await step(undefined, true)).alike).toBeUndefined();
  });

  test("of a variable that was resized are new, its averages' and accumulator's places too", async () => {
    const { variables, step, first } = await training({ useEma: true });
    await variables[1]!.resizeRows(1000);
    const second = await step();
    expect(second.updates[0]).toBe(first.updates[0]);
    expect(second.updates[1]).not.toBe(first.updates[1]);
    expect(second.updates[1]!.segments.reduce((sum, { count }) => sum + count, 0)).toBe(2000);
    expect(second.alike).not.toBe(first.alike);
  });

  test("of a variable that must stay on the CPU from now on say so", async () => {
    const { variables, step } = await training();
    variables[2]!.handle();
    expect((await step()).updates.map(({ place }) => place)).toEqual(["auto", "auto", "cpu"]);
  });

  test("of a table whose averages are kept row by row are made for each step", async () => {
    const { step, first } = await training({ useEma: true, sparseEma: "lazy" });
    const slices = await step(undefined, true);
    expect(slices.updates[0]!.segments[0]!.lazy).toBeGreaterThan(0);
    const dense = await step();
    expect(dense.updates[0]).not.toBe(first.updates[0]);
    expect(dense.updates[0]!.keptLazily).toBe(true);
    expect(dense.updates[0]!.segments[0]!.lazy).toBe(0);
  });
});
