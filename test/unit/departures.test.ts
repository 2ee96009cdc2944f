import {
  Adagrad,
  DuplicateVariableError,
  ExponentialDecay,
  IndexError,
  NoGradientsError,
  OptionError,
  PiecewiseConstantDecay,
  Runtime,
  StateError,
  UnknownVariableError,
  Variable,
} from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { departures } from "../support/departures.js";
import { golden, numbers, type Trajectory } from "../support/golden.js";
import { goldenOptions, goldenPairs, goldenVariable, runTrajectory } from "../support/library.js";
import { thrownBy } from "../support/outcome.js";
import {
  Reference,
  type ReferenceGradient,
  type ReferenceOptions,
  ReferenceVariable,
} from "../support/reference.js";
import { expectSameBits, expectSameState, stateOf, valuesOf } from "../support/state.js";

/** Where Shardgrad departs from Keras 2.9.0 on purpose: one group a row of the table in semantics.md. */

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

function recordedCase(family: string, name: string): Trajectory {
  const [found] = golden(family).filter((recorded) => recorded.name === name);
  if (!found) throw new Error(`no case ${family}/${name}`);
  return found;
}

test("every listed departure is a recorded case", () => {
  for (const key of Object.keys(departures)) {
    const [family, name] = key.split("/") as [string, string];
    expect(recordedCase(family, name).name).toBe(name);
  }
});

describe("everything is validated first; a refused step changes nothing, the rate included", () => {
  test("an unknown variable", async () => {
    const recorded = recordedCase("none_subset", "none_then_present_is_unknown_variable");
    const variables = recorded.variables.map((v) => goldenVariable(v, runtime));
    const optimizer = new Adagrad({ ...goldenOptions(recorded.constructor), runtime });
    let before = stateOf(optimizer, variables);
    for (const step of recorded.steps) {
      const error = await thrownBy(() => optimizer.applyGradients(goldenPairs(step, variables)));
      if (step.error) {
        expect(error).toBeInstanceOf(UnknownVariableError);
        expectSameState(stateOf(optimizer, variables), before);
      } else expect(error).toBeUndefined();
      before = stateOf(optimizer, variables);
    }
  });

  test.each(["out_of_range_index", "negative_index"])("%s", async (name) => {
    const recorded = recordedCase("sparse", name);
    const { states, errors, optimizer } = await runTrajectory(recorded, runtime, "async");
    expect(errors[0]).toBeInstanceOf(IndexError);
    expectSameBits(states[0]!.variables[0]!, numbers(recorded.variables[0]!.initial), "variable");
    expect(states[0]!.iterations).toBe(0);
    expect(optimizer.accumulators).toEqual([]); // not even built
  });

  test("the rate of a refused step is not taken from the schedule", async () => {
    const schedule = new PiecewiseConstantDecay({ boundaries: [0, 1], values: [0.5, 0.25, 0.125] });
    const optimizer = new Adagrad({ learningRate: schedule, runtime });
    const w = new Variable([1], { runtime });
    await optimizer.applyGradients([[[1], w]]);
    expect(await thrownBy(() => optimizer.applyGradients([]))).toBeInstanceOf(NoGradientsError);
    expect(await thrownBy(() => optimizer.applyGradients([[null, w]]))).toBeInstanceOf(NoGradientsError);
    expect(optimizer.learningRate).toBe(0.5); // Keras would show 0.25 here
    await optimizer.applyGradients([[[1], w]]);
    expect(optimizer.learningRate).toBe(0.25);
  });

  test("a wrong list to finalize", async () => {
    const recorded = recordedCase("none_subset", "finalize_too_few");
    const { final, states } = await runTrajectory(recorded, runtime, "async");
    expectSameState(final, states.at(-1)!);
  });
});

describe("averages belong to variables by identity, not by position", () => {
  const cases = golden("none_subset").filter(({ name }) =>
    departures[`none_subset/${name}`]?.includes("identity"),
  );

  test.each(cases)("$name", async (recorded) => {
    const oracles = recorded.variables.map(
      (v) => new ReferenceVariable("float32", v.shape, numbers(v.initial)),
    );
    const reference = new Reference(goldenOptions(recorded.constructor) as ReferenceOptions);
    const trace = await runTrajectory(recorded, runtime, "async");
    recorded.steps.forEach(({ gradients, order }, s) => {
      expect(trace.errors[s]).toBeUndefined();
      reference.step(
        gradients.map((gradient, k) => {
          const dense = gradient && "dense" in gradient ? numbers(gradient.dense) : undefined;
          return [dense ? ({ dense } satisfies ReferenceGradient) : null, oracles[order?.[k] ?? k]!];
        }),
      );
      const state = trace.states[s]!;
      for (const [i, oracle] of oracles.entries()) {
        expectSameBits(state.variables[i]!, oracle.values, `step ${s} variable ${i}`);
        expectSameBits(state.averages[i]!, oracle.average, `step ${s} average ${i}`);
      }
    });
    if (recorded.finalized?.error) return;
    for (const [i, oracle] of oracles.entries()) {
      expectSameBits(trace.final.variables[i]!, oracle.average, `finalized variable ${i}`);
    }
  });
});

describe("a variable twice in one list is refused", () => {
  test.each(["same_variable_twice_later", "same_variable_twice_first"])("%s", async (name) => {
    const recorded = recordedCase("none_subset", name);
    const { errors, states } = await runTrajectory(recorded, runtime, "async");
    const twice = recorded.steps.map(({ order }) => new Set(order).size < (order?.length ?? 0));
    expect(twice).toContain(true);
    for (const [s, isTwice] of twice.entries()) {
      if (!isTwice) expect(errors[s]).toBeUndefined();
      else {
        expect(errors[s]).toBeInstanceOf(DuplicateVariableError);
        if (s > 0) expectSameState(states[s]!, states[s - 1]!);
      }
    }
  });
});

describe("rows that a sparse step does not name never change", () => {
  test("where Keras makes them NaN: accumulator and epsilon 0", async () => {
    const recorded = recordedCase("sparse", "untouched_rows_acc0_eps0_become_nan");
    const { states } = await runTrajectory(recorded, runtime, "async");
    const { initial } = recorded.variables[0]!;
    const [gradient] = recorded.steps[0]!.gradients as unknown as [{ indices: number[] }];
    const kerasResult = numbers(recorded.steps[0]!.variables[0]!);
    expect(kerasResult.some(Number.isNaN)).toBe(true);
    [0, 1, 2].forEach((row) => {
      const part = (values: ArrayLike<number>) => Array.from(values).slice(row * 2, row * 2 + 2);
      const named = gradient.indices.includes(row);
      expectSameBits(
        part(states[0]!.variables[0]!),
        part(named ? kerasResult : numbers(initial)),
        `row ${row}`,
      );
    });
  });

  test("-0 stays -0 under a negative rate", async () => {
    const table = new Variable([[-0], [-0]], { runtime });
    const optimizer = new Adagrad({ learningRate: -1, runtime });
    await optimizer.applyGradients([[{ indices: [0], values: [[1]] }, table]]);
    expect(Object.is(valuesOf(table)[1], -0)).toBe(true);
  });
});

describe("values that cannot be meant are refused", () => {
  test.each([
    ["edge", "negative_initial_accumulator", "initialAccumulatorValue"],
    ["edge", "negative_epsilon", "epsilon"],
    ["clipping", "exact_clipnorm_NaN", "clipnorm"],
    ["ema", "ema_nan_momentum_accepted", "emaMomentum"],
    ["sparse", "negative_accumulator_poisons_untouched_rows", "initialAccumulatorValue"],
  ])("%s/%s", async (family, name, argument) => {
    const options = goldenOptions(recordedCase(family, name).constructor);
    const error = await thrownBy(() => new Adagrad({ ...options, runtime }));
    expect(error).toBeInstanceOf(OptionError);
    expect((error as OptionError).argument).toBe(argument);
  });
});

test("finalize before build is a clear error", async () => {
  const optimizer = new Adagrad({ useEma: true, runtime });
  const error = await thrownBy(() => optimizer.finalizeVariableValues([new Variable([1], { runtime })]));
  expect(error).toBeInstanceOf(StateError);
  expect((error as Error).message).toMatch(/finalize/i);
  new Adagrad({ runtime }).finalizeVariableValues([]); // without averages: nothing to do, as in Keras
});

test("fromConfig does not change its argument", () => {
  const learningRate = new ExponentialDecay({ initialLearningRate: 0.1, decaySteps: 10, decayRate: 0.9 });
  const config = new Adagrad({ learningRate, runtime }).getConfig() as Record<string, unknown>;
  const { learning_rate } = config;
  const copy = structuredClone(config);
  Adagrad.fromConfig(config, { runtime });
  expect(config).toEqual(copy);
  expect(config.learning_rate).toBe(learning_rate);
});

// "Denormals flushed by TensorFlow's kernels": test/golden/denormals.test.ts.
// "Messages marked with origin tensorflow or python": test/golden/errors.test.ts.
