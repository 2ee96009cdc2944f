import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { expect, test } from "vitest";

test("a loop of small awaited steps lets the event loop turn", async () => {
  const runtime = new Runtime({ threads: 0 });
  const weights = Variable.zeros([64], { runtime });
  const optimizer = new Adagrad({ runtime });
  let turns = 0;
  let stopped = false;
  const count = () => {
    turns++;
    if (!stopped) setImmediate(count);
  };
  setImmediate(count);
  // Tens of thousands of microseconds of work; without turns the count stays at zero.
  for (let i = 0; i < 10_000; i++) await optimizer.applyGradients([[new Float32Array(64), weights]]);
  stopped = true;
  expect(turns).toBeGreaterThan(3);
  await runtime.close();
});

test("a step begins within the call, also in a long burst of steps", async () => {
  const runtime = new Runtime({ threads: 0 });
  const optimizer = new Adagrad({ learningRate: 1, runtime });
  const weights = Variable.zeros([4], { runtime });
  const view = weights.data;
  const gradient = [1, 1, 1, 1];
  await optimizer.applyGradients([[gradient, weights]]);
  // Long enough for the next step to give the event loop its turn, and without one in between.
  const end = performance.now() + 5;
  while (performance.now() < end) await optimizer.applyGradients([[[0, 0, 0, 0], weights]]);
  const before = view[0]!;
  const busyUntil = performance.now() + 5;
  while (performance.now() < busyUntil);
  const step = optimizer.applyGradients([[gradient, weights]]);
  weights.dispose();
  await step;
  expect(view[0]).toBeLessThan(before);
  await runtime.close();
});

test("the slots of a large table are filled in parts, and are whole when `build` is told", async () => {
  const runtime = new Runtime({ threads: 0 });
  const table = Variable.uniform([3000, 1000], { seed: 1, runtime });
  const optimizer = new Adagrad({ useEma: true, initialAccumulatorValue: 0.5, runtime });
  let turns = 0;
  let atBuild: unknown;
  const count = () => {
    turns++;
    if (atBuild === undefined) setImmediate(count);
  };
  setImmediate(count);
  optimizer.on("build", () => {
    const [accumulator, average] = [optimizer.accumulators[0]!.data, optimizer.averages[0]!.data];
    atBuild = {
      accumulator: accumulator.every((value) => value === 0.5),
      average: average.every((value, i) => value === table.data[i]),
    };
  });
  await optimizer.applyGradients([[{ indices: [7], values: new Float32Array(1000) }, table]]);
  expect(atBuild).toEqual({ accumulator: true, average: true });
  // 3 M elements of each in parts of 262,144.
  expect(turns).toBeGreaterThan(20);
  await runtime.close();
});
