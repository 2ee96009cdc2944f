import { inspect } from "node:util";
import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { expect, test } from "vitest";

/** What `console.log` shows of the main classes: what they are, not what they are made of. */

test("variables, attached ones, optimizers and runtimes print their public properties", async () => {
  const runtime = new Runtime({ threads: 0, kernels: "wasm" });
  const weights = Variable.zeros([2, 3], { name: "weights", runtime });
  const attached = Variable.attach(weights.handle());
  expect(inspect(weights)).toBe(
    "Variable { name: 'weights', shape: [ 2, 3 ], dtype: 'float32', trainable: true }",
  );
  expect(inspect(attached, { breakLength: 200 })).toBe(
    "AttachedVariable { name: 'weights', shape: [ 2, 3 ], dtype: 'float32', writable: false, disposed: false }",
  );
  weights.dispose();
  expect(inspect(weights)).toContain("disposed: true");
  expect(inspect(new Adagrad({ learningRate: 0.5, runtime }))).toBe(
    "Adagrad { name: 'Adagrad', iterations: 0, learningRate: 0.5, built: false }",
  );
  await runtime.close();
  expect(inspect(runtime, { breakLength: 200 })).toMatch(
    /^Runtime \{ threads: 0, instructions: 'simd128', memoryBytes: \d+, pending: 0, closed: true \}$/,
  );
});
