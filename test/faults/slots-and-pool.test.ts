import {
  Adagrad,
  MemoryExhaustedError,
  Runtime,
  ShardgradError,
  StateError,
  Variable,
} from "@shardgrad/core";
import { expect, test } from "vitest";

const MEBIBYTE = 2 ** 20;

test("a build that runs out of memory is undone", async () => {
  const runtime = new Runtime({ threads: 0, arenaBytes: MEBIBYTE });
  const weights = Variable.zeros([40_000], { runtime });
  const optimizer = new Adagrad({ learningRate: 1, runtime, useEma: true });
  // A slot that can be made only once: the second, the accumulator, fails.
  const add = optimizer.addVariableFromReference.bind(optimizer);
  let calls = 0;
  optimizer.addVariableFromReference = (...args) => {
    calls++;
    if (calls === 2) throw new MemoryExhaustedError(160_000);
    return add(...args);
  };
  expect(() => optimizer.build([weights])).toThrow(MemoryExhaustedError);
  expect(optimizer.built).toBe(false);
  expect(optimizer.variables).toHaveLength(0);
  expect(optimizer.averages).toHaveLength(0);
  await optimizer.applyGradients([[new Float32Array(40_000).fill(1), weights]]);
  expect(weights.data[0]).toBeCloseTo(-1 / Math.sqrt(1.1), 6);
  await runtime.close();
});

test("updateStep by hand is refused while the first step is filling the accumulators", async () => {
  const runtime = new Runtime({ threads: 0 });
  const size = 2_000_000; // filled in several parts, with turns of the event loop between
  const weights = Variable.zeros([size], { runtime });
  const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 1, epsilon: 0, runtime });
  const gradient = runtime.allocate(size).fill(1);
  const step = optimizer.applyGradients([[gradient, weights]]);
  await new Promise(setImmediate);
  expect(optimizer.accumulators[0]!.data[size - 1]).toBe(0);
  expect(() => optimizer.updateStep(gradient, weights)).toThrow(StateError);
  expect(weights.data[0]).toBe(0);
  await step;
  optimizer.updateStep(gradient, weights);
  const expected = Math.fround(Math.fround(-1 / Math.SQRT2) - Math.fround(1 / Math.sqrt(3)));
  expect([weights.data[0], weights.data[size - 1]]).toEqual([
    expect.closeTo(expected, 6),
    expect.closeTo(expected, 6),
  ]);
  // A first step that fails leaves nothing behind.
  const other = new Adagrad({ runtime });
  other.build = () => {
    throw new StateError("no slots");
  };
  await expect(other.applyGradients([[gradient, weights]])).rejects.toThrow("no slots");
  Reflect.deleteProperty(other, "build");
  other.updateStep(gradient, weights);
  await runtime.close();
});

test("a disposed optimizer refuses steps", async () => {
  const runtime = new Runtime({ threads: 0 });
  const weights = Variable.zeros([4], { runtime });
  const optimizer = new Adagrad({ runtime });
  const pairs = [[[1, 1, 1, 1], weights]] as const;
  await optimizer.applyGradients(pairs);
  const values = weights.toArray();
  optimizer.dispose();
  await expect(optimizer.applyGradients(pairs)).rejects.toBeInstanceOf(StateError);
  expect(() => optimizer.applyGradientsSync(pairs)).toThrow(StateError);
  expect(() => optimizer.updateStep([1, 1, 1, 1], weights)).toThrow(StateError);
  expect(weights.toArray()).toEqual(values);
  await runtime.close();
});

test("an accumulator that was disposed by hand refuses the step", async () => {
  const runtime = new Runtime({ threads: 0 });
  const weights = Variable.zeros([4], { runtime });
  const optimizer = new Adagrad({ runtime });
  await optimizer.applyGradients([[[1, 1, 1, 1], weights]]);
  const values = weights.toArray();
  optimizer.accumulators[0]!.dispose();
  await expect(optimizer.applyGradients([[[1, 1, 1, 1], weights]])).rejects.toBeInstanceOf(ShardgradError);
  expect(weights.toArray()).toEqual(values);
  await runtime.close();
});

test("slots disposed during a step stay until it has ended", async () => {
  const runtime = new Runtime({ threads: 2, inlineThreshold: 0 });
  await runtime.ready();
  const size = 4_000_000;
  const weights = Variable.zeros([size], { runtime });
  const gradient = runtime.allocate(size).fill(1);
  const optimizer = new Adagrad({ learningRate: 1, runtime });
  await optimizer.applyGradients([[gradient, weights]]);
  const { byteOffset } = optimizer.accumulators[0]!.data;
  const step = optimizer.applyGradients([[gradient, weights]]);
  optimizer.dispose();
  const during = Array.from({ length: 4 }, () => Variable.zeros([size], { runtime }));
  const overlaps = ({ data }: Variable) => Math.abs(data.byteOffset - byteOffset) < 4 * size;
  expect(during.some(overlaps)).toBe(false);
  await step;
  for (const variable of during) variable.dispose();
  const after = Array.from({ length: 6 }, () => Variable.zeros([size], { runtime }));
  expect(after.some(overlaps)).toBe(true);
  await runtime.close();
});

test("a synchronous step beside another optimizer's running one leaves both right", async () => {
  const runtime = new Runtime({ threads: 2, inlineThreshold: 0 });
  await runtime.ready();
  const size = 4_000_000;
  const expected = Math.fround(-1 / Math.sqrt(1.1));
  for (let round = 0; round < 5; round++) {
    const [a, b] = [Variable.zeros([size], { runtime }), Variable.zeros([size], { runtime })];
    const gradient = runtime.allocate(size).fill(1);
    const [first, second] = [
      new Adagrad({ learningRate: 1, runtime }),
      new Adagrad({ learningRate: 1, runtime }),
    ];
    const running = first.applyGradients([[gradient, a]]);
    second.applyGradientsSync([[gradient, b]]);
    await running;
    for (const variable of [a, b]) {
      const wrong = (variable.data as Float32Array).findIndex((value) => Math.abs(value - expected) > 1e-6);
      expect(wrong, `round ${round}: first wrong element`).toBe(-1);
    }
    for (const owner of [a, b, first, second]) owner.dispose();
    runtime.release(gradient);
  }
  await runtime.close();
});

test("gradients near one variable never take the room of its slots", async () => {
  const runtime = new Runtime({ threads: 0, arenaBytes: MEBIBYTE });
  const weights = Variable.zeros([2_500, 16], { runtime });
  const near = () => runtime.allocate(weights.shape, "float32", { near: weights }).fill(1);
  const [first, second] = [near(), near(), near(), near()] as const;
  const optimizer = new Adagrad({ learningRate: 1, useEma: true, runtime });
  await optimizer.applyGradients([[first, weights]]);
  expect(weights.data[0]).toBeCloseTo(-1 / Math.sqrt(1.1), 6);
  // The others lie where room was left. While the variable's own room for a gradient is lent out, a memory as full
  // as this one has none to copy another to: the step is refused whole, and works once the room is back.
  const values = weights.data.slice();
  await expect(
    optimizer.applyGradients([[new Float32Array(40_000).fill(1), weights]]),
  ).rejects.toBeInstanceOf(MemoryExhaustedError);
  expect(weights.data).toEqual(values);
  expect(optimizer.iterations).toBe(1);
  runtime.release(first);
  await optimizer.applyGradients([[second, weights]]);
  expect(optimizer.iterations).toBe(2);
  await runtime.close();
});

test("a gradient near a split variable leaves room for the first step", async () => {
  const runtime = new Runtime({ threads: 0, arenaBytes: MEBIBYTE });
  const table = Variable.zeros([10_000, 16], { runtime });
  const gradient = runtime.allocate(table.shape, "float32", { near: table });
  await new Adagrad({ learningRate: 1, runtime }).applyGradients([[gradient.fill(1), table]]);
  expect(table.segments.at(-1)!.data.at(-1)).toBeCloseTo(-1 / Math.sqrt(1.1), 6);
  await runtime.close();
});
