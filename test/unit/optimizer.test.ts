import {
  Adagrad,
  ExponentialDecay,
  LearningRateSchedule,
  Optimizer,
  Runtime,
  Variable,
} from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { warningsOf } from "../support/warnings.js";

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

function built(options: object = {}): { optimizer: Adagrad; w: Variable; step: () => void } {
  const w = new Variable([1, 2], { name: "w", runtime });
  const optimizer = new Adagrad({ ...options, runtime });
  return { optimizer, w, step: () => optimizer.applyGradientsSync([[[1, 1], w]]) };
}

describe("attributes", () => {
  test("before the first step", () => {
    const { optimizer } = built();
    expect(optimizer).toBeInstanceOf(Optimizer);
    expect(optimizer).toMatchObject({ name: "Adagrad", iterations: 0, learningRate: Math.fround(0.001) });
    expect([optimizer.accumulators, optimizer.averages, optimizer.variables]).toEqual([[], [], []]);
  });

  test("slots have the dtype and shape of their variables, in build order", async () => {
    const a = new Variable(new Float64Array(6), { shape: [2, 3], name: "a", runtime });
    const b = new Variable([1], { dtype: "float16", name: "b", runtime });
    const optimizer = new Adagrad({ useEma: true, runtime });
    await optimizer.applyGradients([
      [[1], b],
      [new Float64Array(6), a],
    ]);
    for (const slots of [optimizer.accumulators, optimizer.averages]) {
      expect(slots.map(({ shape, dtype, trainable }) => [shape, dtype, trainable])).toEqual([
        [[1], "float16", false],
        [[2, 3], "float64", false],
      ]);
    }
  });

  test("the lists cannot be used to change the optimizer", () => {
    const { optimizer, step } = built({ useEma: true });
    step();
    for (const list of [optimizer.accumulators, optimizer.averages, optimizer.variables]) {
      try {
        (list as Variable[]).length = 0;
      } catch {
        // a frozen list is as good
      }
    }
    expect([optimizer.accumulators.length, optimizer.averages.length]).toEqual([1, 1]);
    step();
  });
});

describe("learningRate", () => {
  test("is a float32 number, lr its alias, set at any time", () => {
    const { optimizer, step } = built({ learningRate: 0.3 });
    expect(optimizer.learningRate).toBe(Math.fround(0.3));
    expect(optimizer.lr).toBe(Math.fround(0.3));
    step();
    optimizer.lr = 0.7;
    expect(optimizer.learningRate).toBe(Math.fround(0.7));
    optimizer.learningRate = -0.1;
    expect(optimizer.lr).toBe(Math.fround(-0.1));
  });

  test("with a schedule it is the rate of the last step", () => {
    const learningRate = new ExponentialDecay({ initialLearningRate: 1, decaySteps: 1, decayRate: 0.5 });
    const { optimizer, step } = built({ learningRate });
    expect(optimizer.learningRate).toBe(1);
    step();
    expect(optimizer.learningRate).toBe(1);
    step();
    expect(optimizer.learningRate).toBe(0.5);
  });

  test("a schedule of the user's own", () => {
    class Halving extends LearningRateSchedule {
      readonly steps: number[] = [];
      override call(step: number): number {
        this.steps.push(step);
        return 0.5 ** step;
      }
      override getConfig() {
        return {};
      }
    }
    const schedule = new Halving();
    const { optimizer, step } = built({ learningRate: schedule });
    step();
    step();
    expect(optimizer.learningRate).toBe(0.5);
    expect(schedule.steps.at(-1)).toBe(1);
    expect(optimizer.getConfig()).toMatchObject({ learning_rate: { class_name: "Halving", config: {} } });
    const again = Adagrad.fromConfig(optimizer.getConfig(), { runtime, customObjects: { Halving } });
    expect(again.learningRate).toBe(1);
  });

  test("a rate set while steps wait is not theirs", async () => {
    const threaded = new Runtime({ threads: 1, inlineThreshold: 0 });
    const w = new Variable([0], { runtime: threaded });
    const options = { learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime: threaded };
    const optimizer = new Adagrad(options);
    const steps = [optimizer.applyGradients([[[1], w]])];
    optimizer.learningRate = 0;
    steps.push(optimizer.applyGradients([[[1], w]]));
    await Promise.all(steps);
    expect(w.toArray()).toEqual([-1]);
    await threaded.close();
  });
});

describe("iterations", () => {
  test("count completed steps and can be set before the first", () => {
    const { optimizer, step } = built();
    optimizer.iterations = 41;
    expect(optimizer.iterations).toBe(41);
    step();
    expect(optimizer.iterations).toBe(42);
  });

  test("shift the schedule and the overwriting", () => {
    const learningRate = new ExponentialDecay({ initialLearningRate: 1, decaySteps: 1, decayRate: 0.5 });
    const { optimizer, step } = built({ learningRate, useEma: true, emaOverwriteFrequency: 4 });
    const overwrites: number[] = [];
    optimizer.on("emaOverwrite", ({ iterations }) => overwrites.push(iterations));
    optimizer.iterations = 3;
    step();
    expect(optimizer.learningRate).toBe(0.125);
    expect(overwrites).toEqual([4]);
  });
});

describe("finalizeVariableValues", () => {
  test("by identity, in any order", () => {
    const a = new Variable([1], { runtime });
    const b = new Variable([2], { runtime });
    const optimizer = new Adagrad({ learningRate: 1, useEma: true, emaMomentum: 0.5, runtime });
    optimizer.applyGradientsSync([
      [[1], a],
      [[1], b],
    ]);
    const [averageOfA, averageOfB] = optimizer.averages.map((average) => average.toArray());
    optimizer.finalizeVariableValues([b, a]);
    expect([a.toArray(), b.toArray()]).toEqual([averageOfA, averageOfB]);
  });

  test("while a step is pending is refused", async () => {
    const threaded = new Runtime({ threads: 1, inlineThreshold: 0 });
    const w = new Variable([1], { runtime: threaded });
    const optimizer = new Adagrad({ useEma: true, runtime: threaded });
    const step = optimizer.applyGradients([[[1], w]]);
    expect(() => optimizer.finalizeVariableValues([w])).toThrow(/finalizeVariableValues/);
    await step;
    optimizer.finalizeVariableValues([w]);
    await threaded.close();
  });
});

test("two optimizers on the same variables keep their own slots", () => {
  const { optimizer, w, step } = built();
  const other = new Adagrad({ initialAccumulatorValue: 5, runtime });
  step();
  other.applyGradientsSync([[[1, 1], w]]);
  expect(optimizer.accumulators[0]!.toArray()).toEqual([Math.fround(1.1), Math.fround(1.1)]);
  expect(other.accumulators[0]!.toArray()).toEqual([6, 6]);
});

test("some null gradients: one warning names the variables", async () => {
  const { optimizer, w } = built();
  const names = ["x", "y"].map((name) => new Variable([1], { name, runtime }));
  const warnings = await warningsOf(() =>
    optimizer.applyGradients([[[1, 1], w], ...names.map((variable) => [null, variable] as const)], {
      skipGradientsAggregation: true,
    }),
  );
  expect(warnings.length).toBe(1);
  expect(warnings[0]).toContain("['x', 'y']");
});

test("the runtime of the variables is used when none is given", async () => {
  const own = new Runtime({ threads: 0 });
  const w = new Variable([1], { runtime: own });
  const optimizer = new Adagrad();
  await optimizer.applyGradients([[[1], w]]);
  expect(optimizer.iterations).toBe(1);
  await own.close();
});
