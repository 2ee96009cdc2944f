import { setImmediate } from "node:timers/promises";
import { Adagrad, Optimizer, Runtime, type TypedArray, UpdateStepError, Variable } from "@shardgrad/core";
import { afterAll, describe, expect, test, vi } from "vitest";
import { thrownBy } from "../support/outcome.js";
import { valuesOf } from "../support/state.js";
import { warningsOf } from "../support/warnings.js";

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

function scene() {
  const w = new Variable([1, 2], { name: "w", runtime });
  const optimizer = new Adagrad({ useEma: true, emaOverwriteFrequency: 1, runtime });
  return { w, optimizer, step: () => optimizer.applyGradients([[[1, 1], w]]) };
}

/** An error listener gets the error itself. */
const failure = new Error("from the listener");
const failing = {
  throws: () => {
    throw failure;
  },
  rejects: () => Promise.reject(failure),
};

describe.each(Object.entries(failing))("a listener that %s", (_, listener) => {
  test.each(["build", "iteration", "emaOverwrite"] as const)(
    "of %s goes to the error event",
    async (event) => {
      const { optimizer, step } = scene();
      const onError = vi.fn();
      const after = vi.fn();
      optimizer.on(event, listener);
      optimizer.on(event, after);
      optimizer.on("error", onError);
      expect(await warningsOf(step)).toEqual([]);
      expect(onError.mock.calls).toEqual([[failure]]);
      expect(after).toHaveBeenCalledTimes(1); // the other listeners still hear of it
      expect(optimizer.iterations).toBe(1);
      await step();
      expect(optimizer.iterations).toBe(2);
    },
  );

  test("of finalize goes to the error event", async () => {
    const { optimizer, step, w } = scene();
    const onError = vi.fn();
    optimizer.on("finalize", listener);
    optimizer.on("error", onError);
    await step();
    optimizer.finalizeVariableValues([w]);
    await setImmediate();
    expect(onError.mock.calls).toEqual([[failure]]);
  });

  test("is a warning when nobody listens to errors", async () => {
    const { optimizer, step } = scene();
    optimizer.on("iteration", listener);
    const warnings = await warningsOf(step);
    expect(warnings.length).toBe(1);
    expect(warnings[0]).toContain("from the listener");
    expect(optimizer.iterations).toBe(1);
  });

  test("of errors is a warning, not a loop", async () => {
    const { optimizer, step } = scene();
    optimizer.on("iteration", listener);
    const onError = vi.fn(listener);
    optimizer.on("error", onError);
    const warnings = await warningsOf(step);
    expect(onError).toHaveBeenCalledTimes(1);
    expect(warnings.length).toBe(1);
    expect(optimizer.iterations).toBe(1);
  });

  test("of the runtime does no harm", async () => {
    const own = new Runtime({ threads: 0 });
    const w = new Variable([1], { runtime: own });
    const optimizer = new Adagrad({ runtime: own });
    own.on("drain", listener);
    const warnings = await warningsOf(() => optimizer.applyGradients([[[1], w]]));
    expect(warnings.length).toBe(1);
    expect(optimizer.iterations).toBe(1);
    await own.close();
  });
});

/** An optimizer whose step fails on one variable, after it wrote half of it. */
class Broken extends Optimizer {
  readonly cause = new Error("from updateStep");

  override updateStep(_gradient: TypedArray | object, variable: Variable): void {
    variable.data[0] = 100;
    if (variable.name === "bad") throw this.cause;
    variable.data[1] = 100;
  }
}

describe("a custom updateStep that throws", () => {
  test.each(["async", "sync"] as const)("says what is damaged, %s", async (mode) => {
    const names = ["first", "bad", "last"];
    const variables = names.map((name) => new Variable([1, 2], { name, runtime }));
    const optimizer = new Broken({ runtime });
    const pairs = variables.map((variable) => [[1, 1], variable] as const);
    const error = await thrownBy(() =>
      mode === "sync" ? optimizer.applyGradientsSync(pairs) : optimizer.applyGradients(pairs),
    );
    expect(error).toBeInstanceOf(UpdateStepError);
    expect((error as UpdateStepError).cause).toBe(optimizer.cause);
    const states = (error as UpdateStepError).damage.map(({ variable, state }) => [variable, state]);
    expect(states).toEqual([
      ["first", "applied"],
      ["bad", "unknown"],
      ["last", "notApplied"],
    ]);
    expect(optimizer.iterations).toBe(0);
    expect([...valuesOf(variables[2]!)]).toEqual([1, 2]);
    variables[1]!.assign([1, 2]);
    await optimizer.applyGradients([[[1, 1], variables[0]!]]); // and the optimizer goes on
    expect(optimizer.iterations).toBe(1);
  });
});
