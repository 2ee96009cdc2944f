import { Adagrad, Variable } from "@shardgrad/core";
import { expect, test } from "vitest";
import { pooled } from "../support/devices.js";

test("`read` during a dense step has all of it or nothing", async () => {
  const runtime = pooled(2);
  await runtime.ready();
  const weights = Variable.zeros([2_000_000], { runtime, device: "cpu" });
  const optimizer = new Adagrad({ runtime });
  const gradient = runtime.allocate(weights.size, "float32", { near: weights }).fill(1);
  for (let step = 0; step < 10; step++) {
    const done = optimizer.applyGradients([[gradient, weights]]);
    await new Promise(setImmediate);
    const values = await weights.read();
    expect(values.every((value) => value === values[0])).toBe(true);
    await done;
  }
  await runtime.close();
});

test("`read` of a slot that a first step is filling waits for it", async () => {
  const runtime = pooled(0);
  const weights = Variable.ones([2_000_000], { runtime, device: "cpu" });
  const optimizer = new Adagrad({ runtime });
  const step = optimizer.applyGradients([[new Float32Array(weights.size), weights]]);
  await new Promise(setImmediate);
  const [accumulator] = optimizer.variables;
  expect(new Set(await accumulator!.read())).toEqual(new Set([Math.fround(0.1)]));
  await step;
  await runtime.close();
});

test("`read` is of one moment between the steps called before and those called after", async () => {
  const runtime = pooled(2);
  const weights = Variable.zeros([300_000, 4], { runtime, device: "cpu" });
  const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime });
  const step = () => optimizer.applyGradients([[new Float32Array(weights.size).fill(-1), weights]]);
  const reads: Promise<unknown>[] = [];
  for (let i = 0; i < 4; i++) reads.push(step(), weights.read());
  const values = (await Promise.all(reads)).filter((value) => value !== undefined) as Float32Array[];
  let sum = 0;
  values.forEach((read, i) => {
    sum = Math.fround(sum + Math.fround(1 / Math.sqrt(i + 1)));
    expect(new Set(read)).toEqual(new Set([sum]));
  });
  await runtime.close();
  expect(new Set(await weights.read())).toEqual(new Set([sum])); // nothing runs any more, but it can be read
});

test("`read` of a large variable gives the event loop its turns, and begins within the call", async () => {
  const runtime = pooled(0);
  const table = Variable.ones([100_000, 20], { runtime, device: "cpu" });
  let turns = 0;
  let done = false;
  const count = () => {
    turns++;
    if (!done) setImmediate(count);
  };
  setImmediate(count);
  const coming = table.read();
  table.data.fill(2, 0, 20);
  const values = await coming;
  done = true;
  expect(turns).toBeGreaterThan(5); // 2 M elements in parts of 262,144
  expect([values[0], values.at(-1)]).toEqual([1, 1]);
  await runtime.close();
});

test("reads that are called together are a checkpoint of one moment, while steps go on", async () => {
  const runtime = pooled(2);
  const weights = Variable.zeros([1000], { runtime, device: "cpu" });
  const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime });
  const step = () => optimizer.applyGradients([[new Float32Array(1000).fill(-1), weights]]);
  await step();
  const steps = [step(), step()];
  const checkpoint = Promise.all([weights, optimizer.accumulators[0]!].map((array) => array.read()));
  steps.push(step(), step());
  const [values, squares] = await checkpoint;
  await Promise.all(steps);
  expect(squares![0]).toBe(3);
  expect(values![0]).toBe(
    [1, 2, 3].reduce((sum, k) => Math.fround(sum + Math.fround(1 / Math.fround(Math.sqrt(k)))), 0),
  );
  await runtime.close();
});
