import { Adagrad, ArgumentError, Runtime, Variable } from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { argumentsOf, type GoldenError, type GoldenVariable, golden } from "../support/golden.js";
import { goldenOptions, goldenVariable } from "../support/library.js";
import { valuesOf } from "../support/state.js";

interface SlotResult {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly trainable: boolean;
  readonly value: readonly number[];
}
interface BuildResult {
  readonly accumulator_names?: readonly string[];
  readonly average_names?: readonly string[];
  readonly variables: readonly string[];
}
interface Case {
  readonly name: string;
  readonly constructor?: Readonly<Record<string, unknown>>;
  readonly call?: {
    readonly method: string;
    readonly arguments?: Readonly<Record<string, unknown>>;
    readonly model_variable?: GoldenVariable;
    readonly variable_names?: readonly (string | null)[];
  };
  readonly result?: SlotResult | BuildResult;
  readonly error?: GoldenError;
}

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

const cases = golden<Case>("add_variable");
const casesOf = (method: string) => cases.filter(({ call }) => call?.method === method);
const plainName = (name: string) => name.replace(/:0$/, "");

function optimizerOf(recorded: Case): Adagrad {
  return new Adagrad({ ...goldenOptions(argumentsOf(recorded)), runtime });
}

function expectSlot(slot: Variable, result: SlotResult): void {
  expect(slot.name).toBe(plainName(result.name));
  expect(slot.shape).toEqual(result.shape);
  expect(slot.dtype).toBe(result.dtype);
  expect(slot.trainable).toBe(result.trainable);
  expect([...valuesOf(slot)]).toEqual(result.value);
}

describe("addVariable", () => {
  test.each(casesOf("add_variable"))("$name", (recorded) => {
    const { shape, ...options } = recorded.call!.arguments as Record<string, never>;
    const given = { ...options } as { initializer?: unknown; dtype?: string };
    if (typeof given.initializer === "string" && given.initializer.startsWith("callable")) {
      given.initializer = (of: readonly number[]) => Array(of.reduce((a, b) => a * b, 1)).fill(2.5);
    }
    const add = () => optimizerOf(recorded).addVariable(shape, given as never);
    // int64 is no dtype of ours: only `iterations` is one in Keras, and ours is a number.
    if (recorded.error || given.dtype === "int64") expect(add).toThrow(ArgumentError);
    else expectSlot(add(), recorded.result as SlotResult);
  });
});

describe("addVariableFromReference", () => {
  test.each(casesOf("add_variable_from_reference"))("$name", (recorded) => {
    const { variable_name, shape, initial_value } = recorded.call!.arguments as {
      variable_name: string;
      shape?: number[];
      initial_value?: number[];
    };
    const model = goldenVariable(recorded.call!.model_variable!, runtime);
    const slot = optimizerOf(recorded).addVariableFromReference(model, variable_name, {
      ...(shape === undefined ? {} : { shape }),
      ...(initial_value === undefined ? {} : { initialValue: initial_value }),
    });
    expectSlot(slot, recorded.result as SlotResult);
  });
});

/** Keras lists `iteration` and `learning_rate` among its variables; ours are numbers, not variables. */
function variableNames(result: BuildResult): string[] {
  return result.variables.map(plainName).filter((name) => name !== "iteration" && name !== "learning_rate");
}

describe("names of the slots that a step makes", () => {
  test.each(casesOf("apply_gradients"))("$name", async (recorded) => {
    const result = recorded.result as BuildResult;
    const variables = recorded.call!.variable_names!.map(
      (name) => new Variable([1, 2], { runtime, ...(name === null ? {} : { name }) }),
    );
    const optimizer = optimizerOf(recorded);
    await optimizer.applyGradients(variables.map((variable) => [[1, 1], variable] as const));
    expect(optimizer.accumulators.map(({ name }) => name)).toEqual(result.accumulator_names!.map(plainName));
    expect(optimizer.averages.map(({ name }) => name)).toEqual(result.average_names!.map(plainName));
    expect(optimizer.variables.map(({ name }) => name)).toEqual(variableNames(result));
  });

  test("direct_build_has_no_scope_prefix_and_is_idempotent", () => {
    const [recorded] = cases.filter(({ name }) => name.startsWith("direct_build"));
    const result = recorded!.result as BuildResult;
    const a = new Variable([1, 2], { name: "a", runtime });
    const b = new Variable([1, 2], { name: "b", runtime });
    const optimizer = optimizerOf(recorded!);
    optimizer.build([a, b]);
    optimizer.build([a]);
    expect(optimizer.accumulators.map(({ name }) => name)).toEqual(result.accumulator_names!.map(plainName));
    expect(optimizer.variables.map(({ name }) => name)).toEqual(variableNames(result));
  });

  test("variables_before_build_schedule", () => {
    const [recorded] = cases.filter(({ name }) => name === "variables_before_build_schedule");
    expect(optimizerOf(recorded!).variables.map(({ name }) => name)).toEqual(
      variableNames(recorded!.result as BuildResult),
    );
  });
});
