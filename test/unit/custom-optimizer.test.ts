import {
  Adagrad,
  ExponentialDecay,
  Optimizer,
  Runtime,
  type StepGradient,
  UnknownVariableError,
  Variable,
} from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { expectSameBits, valuesOf } from "../support/state.js";

/** What a user gets for free by subclassing: clipping, averages, overwriting, schedules and events. */

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

/** Gradient descent with momentum: velocity = momentum · velocity − rate · g; w += velocity. */
class MomentumSGD extends Optimizer {
  static readonly configKeys = { momentum: "momentum" };
  readonly momentum: number;
  readonly #velocities = new Map<Variable, Variable>();

  constructor({ momentum = 0.9, ...options }: { momentum?: number; [key: string]: unknown } = {}) {
    super(options);
    this.momentum = momentum;
  }

  override build(variables: readonly Variable[]): void {
    if (this.built) return;
    super.build(variables);
    for (const variable of variables) {
      this.#velocities.set(variable, this.addVariableFromReference(variable, "velocity"));
    }
  }

  override updateStep(gradient: StepGradient, variable: Variable): void {
    const velocity = this.#velocities.get(variable)!.data;
    const { data } = variable;
    const move = (i: number, g: number) => {
      velocity[i] = this.momentum * velocity[i]! - this.learningRate * g;
      data[i]! += velocity[i]!;
    };
    if (ArrayBuffer.isView(gradient)) {
      for (let i = 0; i < gradient.length; i++) move(i, gradient[i]!);
      return;
    }
    const { indices, values, rowSize } = gradient;
    indices.forEach((row, k) => {
      for (let j = 0; j < rowSize; j++) move(row * rowSize + j, values[k * rowSize + j]!);
    });
  }

  override getConfig() {
    return { ...super.getConfig(), momentum: this.momentum };
  }
}

function scene(options: object = {}) {
  const w = new Variable([1, 2], { name: "w", runtime });
  return { w, optimizer: new MomentumSGD({ learningRate: 0.5, momentum: 0.5, runtime, ...options }) };
}

describe.each(["async", "sync"] as const)("a subclass with updateStep, %s", (mode) => {
  const step = async (optimizer: Optimizer, pairs: Parameters<Optimizer["applyGradients"]>[0]) => {
    if (mode === "sync") optimizer.applyGradientsSync(pairs);
    else await optimizer.applyGradients(pairs);
  };

  test("dense steps", async () => {
    const { w, optimizer } = scene();
    await step(optimizer, [[[1, 2], w]]);
    expect(w.toArray()).toEqual([0.5, 1]);
    await step(optimizer, [[[1, 2], w]]);
    expect(w.toArray()).toEqual([-0.25, -0.5]);
    expect(optimizer.iterations).toBe(2);
    expect(optimizer.variables.map(({ name }) => name)).toEqual(["MomentumSGD/velocity/w"]);
  });

  test("slices come as indices, values and rowSize", async () => {
    const table = new Variable(
      [
        [1, 1],
        [2, 2],
        [3, 3],
      ],
      { runtime },
    );
    const optimizer = new MomentumSGD({ learningRate: 1, runtime });
    await step(optimizer, [
      [
        {
          indices: [2, 0],
          values: [
            [1, 0],
            [0, 1],
          ],
        },
        table,
      ],
    ]);
    expect(table.toArray()).toEqual([
      [1, 0],
      [2, 2],
      [2, 3],
    ]);
  });

  test("gradients are clipped, the caller's own is not", async () => {
    const { w, optimizer } = scene({ globalClipnorm: 8 });
    const gradient = runtime.allocate(2); // not copied when it need not be, and still the caller's
    gradient.set([0, 64]);
    const norms: unknown[] = [];
    optimizer.on("iteration", ({ globalNorm }) => norms.push(globalNorm));
    await step(optimizer, [[gradient, w]]);
    expect(w.toArray()).toEqual([1, 2 - 4]);
    expect([...gradient]).toEqual([0, 64]);
    expect(norms).toEqual([64]);
  });

  test("averages and overwriting", async () => {
    const { w, optimizer } = scene({ useEma: true, emaMomentum: 0.5, emaOverwriteFrequency: 2 });
    await step(optimizer, [[[1, 2], w]]); // 0.5, 1
    expect(optimizer.averages[0]!.toArray()).toEqual([0.75, 1.5]);
    await step(optimizer, [[[1, 2], w]]); // -0.25, -0.5
    expect(optimizer.averages[0]!.toArray()).toEqual([0.25, 0.5]);
    expect(w.toArray()).toEqual([0.25, 0.5]);
  });

  test("the rate of a schedule is the one updateStep reads", async () => {
    const learningRate = new ExponentialDecay({ initialLearningRate: 1, decaySteps: 1, decayRate: 0.5 });
    const { w, optimizer } = scene({ learningRate, momentum: 0 });
    await step(optimizer, [[[1, 1], w]]);
    await step(optimizer, [[[1, 1], w]]);
    expect(w.toArray()).toEqual([1 - 1.5, 2 - 1.5]);
  });

  test("events and refusals", async () => {
    const { w, optimizer } = scene();
    const seen: string[] = [];
    for (const name of ["build", "iteration"] as const) optimizer.on(name, () => seen.push(name));
    await step(optimizer, [[[1, 2], w]]);
    expect(seen).toEqual(["build", "iteration"]);
    const stranger = new Variable([1, 2], { runtime });
    await expect(step(optimizer, [[[1, 2], stranger]])).rejects.toThrow(UnknownVariableError);
  });
});

test("a float16 variable: its data are bit patterns, like its gradient", async () => {
  class Copying extends Optimizer {
    override updateStep(gradient: StepGradient, variable: Variable): void {
      variable.data.set(gradient as Uint16Array);
    }
  }
  const w = new Variable([1, 2], { dtype: "float16", runtime });
  await new Copying({ clipvalue: 0.5, runtime }).applyGradients([[[0.25, 4], w]]);
  expect(w.toArray()).toEqual([0.25, 0.5]);
});

test("getConfig and fromConfig make the same optimizer", () => {
  const { optimizer } = scene({ clipvalue: 2 });
  const config = optimizer.getConfig();
  expect(config).toMatchObject({ momentum: 0.5, clipvalue: 2, learning_rate: 0.5, name: "MomentumSGD" });
  const again = MomentumSGD.fromConfig(config, { runtime }) as MomentumSGD;
  expect(again).toBeInstanceOf(MomentumSGD);
  expect(again.getConfig()).toEqual(config);
});

test("a subclass of Adagrad may change the update, and the base still keeps the rest", async () => {
  class Sign extends Adagrad {
    override updateStep(gradient: StepGradient, variable: Variable): void {
      super.updateStep((gradient as Float32Array).map(Math.sign), variable);
    }
  }
  const a = new Variable([1, 2], { runtime });
  const b = new Variable([1, 2], { runtime });
  const [signed, plain] = [Sign, Adagrad].map(
    (Class) => new Class({ learningRate: 0.5, useEma: true, emaOverwriteFrequency: 1, runtime }),
  ) as [Adagrad, Adagrad];
  await signed.applyGradients([[[3, -7], a]]);
  await plain.applyGradients([[[1, -1], b]]);
  expectSameBits(valuesOf(a), valuesOf(b), "variable");
  expect(signed.iterations).toBe(1);
});
