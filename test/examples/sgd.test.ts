/** A custom optimizer by subclassing, against Keras' formulas written out. */
import { IndexedSlices, OptionError, PiecewiseConstantDecay, Runtime, Variable } from "@shardgrad/core";
import { describe, expect, it } from "vitest";
import { SGD } from "../../examples/dist/sgd-momentum/sgd.js";

const f = Math.fround;
const runtime = new Runtime({ threads: 0 });
const gradients = [
  Float32Array.of(0.1, -0.7, 3),
  Float32Array.of(0.3, 0.2, -1),
  Float32Array.of(-5, 0, 0.01),
];

function expected(momentum: number, nesterov: boolean, rate = f(0.05)): number[] {
  const weights = [1, 2, 3];
  const slots = [0, 0, 0];
  for (const gradient of gradients) {
    for (let i = 0; i < 3; i++) {
      const move = -f(gradient[i]! * rate);
      slots[i] = f(move + f(slots[i]! * f(momentum)));
      weights[i] = f(weights[i]! + (nesterov ? f(move + f(slots[i]! * f(momentum))) : slots[i]!));
    }
  }
  return weights;
}

describe("dense gradients", () => {
  it.each([
    { momentum: 0, nesterov: false },
    { momentum: 0.9, nesterov: false },
    { momentum: 0.9, nesterov: true },
  ])("momentum $momentum, nesterov $nesterov", async ({ momentum, nesterov }) => {
    const weights = new Variable([1, 2, 3], { runtime });
    const optimizer = new SGD({ learningRate: 0.05, momentum, nesterov, runtime });
    for (const gradient of gradients) await optimizer.applyGradients([[gradient, weights]]);
    expect(weights.toArray()).toEqual(expected(momentum, nesterov));
    expect(optimizer.momentums).toHaveLength(momentum === 0 ? 0 : 1);
  });
});

describe("indexed slices", () => {
  it.each([false, true])("move as the dense gradient with zeros elsewhere would, nesterov %s", (nesterov) => {
    const sparse = new Variable(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      { runtime },
    );
    const dense = new Variable(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      { runtime },
    );
    const options = { learningRate: 0.25, momentum: 0.5, nesterov, runtime };
    const bySlices = new SGD(options);
    const byDense = new SGD(options);
    for (let step = 0; step < 3; step++) {
      const slices = new IndexedSlices({
        indices: [2, 0, 2],
        values: [
          [1, 2],
          [4, 8],
          [0.5, 0.25],
        ],
      });
      bySlices.applyGradientsSync([[slices, sparse]]);
      byDense.applyGradientsSync([
        [
          [
            [4, 8],
            [0, 0],
            [1.5, 2.25],
          ],
          dense,
        ],
      ]);
    }
    expect(sparse.toArray()).toEqual(dense.toArray());
  });

  it("without momentum change only the named rows", () => {
    const weights = new Variable(
      [
        [1, 2],
        [3, 4],
      ],
      { runtime },
    );
    new SGD({ learningRate: 1, runtime }).applyGradientsSync([
      [
        new IndexedSlices({
          indices: [1, 1],
          values: [
            [1, 1],
            [1, 1],
          ],
        }),
        weights,
      ],
    ]);
    expect(weights.toArray()).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });
});

describe("what the base class brings", () => {
  it("clips, averages and follows a schedule", async () => {
    const weights = new Variable([0, 0], { runtime });
    const learningRate = new PiecewiseConstantDecay({ boundaries: [0], values: [1, 0.5] });
    const optimizer = new SGD({ learningRate, globalClipnorm: 5, useEma: true, emaMomentum: 0.5, runtime });
    const rates: number[] = [];
    optimizer.on("iteration", (event) => rates.push(event.learningRate));
    await optimizer.applyGradients([[[6, 8], weights]]);
    expect(weights.toArray()).toEqual([-3, -4]);
    await optimizer.applyGradients([[[2, 0], weights]]);
    expect(weights.toArray()).toEqual([-4, -4]);
    expect(rates).toEqual([1, 0.5]);
    optimizer.finalizeVariableValues([weights]);
    expect(weights.toArray()).toEqual([-2.75, -3]);
  });

  it("keeps its options through a configuration", () => {
    const config = new SGD({ learningRate: 0.5, momentum: 0.9, nesterov: true, clipvalue: 2 }).getConfig();
    expect(config).toMatchObject({
      learning_rate: 0.5,
      momentum: 0.9,
      nesterov: true,
      clipvalue: 2,
      name: "SGD",
    });
    expect(SGD.fromConfig(config).getConfig()).toEqual(config);
  });
});

it("refuses bad options and float16", () => {
  expect(() => new SGD({ momentum: 1.5 })).toThrow(OptionError);
  expect(() => new SGD({ momentum: Number.NaN })).toThrow(OptionError);
  expect(() => new SGD({ speed: 3 } as object)).toThrow(OptionError);
  const half = new Variable([1, 2], { dtype: "float16", runtime });
  expect(() => new SGD({ runtime }).applyGradientsSync([[[1, 1], half]])).toThrow("float16");
});
