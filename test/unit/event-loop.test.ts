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
