import { Adagrad, StateError, Variable } from "@shardgrad/core";
import { expect, test } from "vitest";
import { pooled } from "../support/devices.js";
import { thrownBy } from "../support/outcome.js";

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

test("`read` of a slot that a first step is filling is refused", async () => {
  const runtime = pooled(0);
  const weights = Variable.ones([2_000_000], { runtime, device: "cpu" });
  const optimizer = new Adagrad({ runtime });
  const step = optimizer.applyGradients([[new Float32Array(weights.size), weights]]);
  await new Promise(setImmediate);
  const [accumulator] = optimizer.variables;
  expect(await thrownBy(() => accumulator!.read())).toBeInstanceOf(StateError);
  await step;
  expect(new Set(await accumulator!.read())).toEqual(new Set([Math.fround(0.1)]));
  await runtime.close();
});
