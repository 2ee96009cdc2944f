import {
  Adagrad,
  ArgumentError,
  IndexedSlices,
  InProcessAggregator,
  OptionError,
  Runtime,
  Variable,
} from "@shardgrad/core";
import { afterAll, expect, test } from "vitest";
import { thrownBy } from "../support/outcome.js";

/** What goes with a call, and is not what it should be, is refused with a typed error that names it. */

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

test.each([
  ["an unknown option", { skip_gradients_aggregation: true }, "skip_gradients_aggregation"],
  ["no object", null, "options"],
  ["a flag that is none", { skipGradientsAggregation: 1 }, "skipGradientsAggregation"],
  ["a signal that is none", { signal: {} }, "signal"],
])("a step with %s", async (_, options, argument) => {
  const weights = Variable.zeros([2], { runtime });
  const optimizer = new Adagrad({ runtime });
  for (const method of ["applyGradients", "applyGradientsSync"] as const) {
    const error = await thrownBy(() => optimizer[method]([[[1, 2], weights]], options as never));
    expect(error).toBeInstanceOf(OptionError);
    expect(error).toHaveProperty("argument", argument);
  }
  expect([optimizer.iterations, optimizer.built]).toEqual([0, false]);
});

test.each([
  [{ timeoutMs: 5 }, "timeoutMs"],
  [{ timeout: "5" }, "timeout"],
  [{ timeout: Number.NaN }, "timeout"],
  [{ signal: {} }, "signal"],
  [null, "options"],
])("close(%j) closes nothing", async (options, argument) => {
  const own = new Runtime({ threads: 0 });
  const error = await thrownBy(() => own.close(options as never));
  expect(error).toBeInstanceOf(OptionError);
  expect(error).toHaveProperty("argument", argument);
  expect(own.closed).toBe(false);
  await own.close();
});

test("close with a timeout beyond those of timers waits for the queue", async () => {
  const own = new Runtime({ threads: 1, inlineThreshold: 0 });
  const weights = Variable.zeros([2], { runtime: own });
  const optimizer = new Adagrad({ runtime: own });
  const steps = Array.from({ length: 20 }, () => optimizer.applyGradients([[[1, 2], weights]]));
  await own.close({ timeout: Number.POSITIVE_INFINITY });
  await Promise.all(steps);
  expect(optimizer.iterations).toBe(20);
});

test("constructors and finalize without what they need", async () => {
  for (const nothing of [undefined, null, 3] as never[]) {
    expect(() => new InProcessAggregator(nothing)).toThrow(OptionError);
    expect(() => new IndexedSlices(nothing)).toThrow(ArgumentError);
  }
  for (const nothing of [null, 3] as never[]) {
    expect(() => new Runtime(nothing)).toThrow(OptionError);
    expect(() => new Variable([1], nothing)).toThrow(OptionError);
  }
  const optimizer = new Adagrad({ useEma: true, runtime });
  await optimizer.applyGradients([[[1], new Variable([1], { runtime })]]);
  expect(() => optimizer.finalizeVariableValues(undefined as never)).toThrow(ArgumentError);
});
