import {
  Adagrad,
  type AdagradOptions,
  DisposedVariableError,
  OptionError,
  Runtime,
  StateError,
  Variable,
} from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { runtimeInternals } from "../../packages/core/dist/runtime/internals.js";
import { LazyAverage } from "../../packages/core/dist/variable/lazy-average.js";

const runtime = new Runtime({ threads: 0 });

/** Halves everywhere, so that every number is exact: rates and gradients change a row by 1. */
const exact = { learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, useEma: true, emaMomentum: 0.5 };

function trained(options: AdagradOptions = {}) {
  const table = Variable.zeros([6, 2], { runtime });
  const optimizer = new Adagrad({ ...exact, sparseEma: "lazy", ...options, runtime });
  return { table, optimizer, touch: (row: number, g = -1) => touch(optimizer, table, row, g) };
}

/** The first touch of a row moves it by 1. */
function touch(optimizer: Adagrad, table: Variable, row: number, g = -1): Promise<void> {
  return optimizer.applyGradients([[{ indices: [row], values: [[g, g]] }, table]]);
}

const rowsOf = (variable: Variable) => (variable.toArray() as number[][]).map(([first]) => first);

test("only the rows of a step are brought up to date, the others when they are touched", async () => {
  const { table, optimizer, touch } = trained();
  await touch(0);
  await touch(1);
  await touch(2);
  const average = optimizer.averages[0]!.data;
  expect([average[0], average[2], average[4]]).toEqual([0.5, 0.5, 0.5]); // row 0 has missed two averages
  await touch(0, 0);
  expect(average[0]).toBe(0.9375); // 0.5, 0.75, 0.875, 0.9375
  await table.materialize();
  expect(rowsOf(optimizer.averages[0]!)).toEqual([0.9375, 0.875, 0.75, 0, 0, 0]);
});

test("the average can be materialized as well", async () => {
  const { optimizer, touch } = trained();
  await touch(0);
  await touch(1);
  await optimizer.averages[0]!.materialize();
  expect(rowsOf(optimizer.averages[0]!)).toEqual([0.75, 0.5, 0, 0, 0, 0]);
});

test("a row takes its average at the first overwrite that it has missed, and then stays", async () => {
  const { table, touch } = trained({ emaOverwriteFrequency: 2 });
  await touch(0); // average 0.5
  await touch(1); // overwrite: 0.75 in row 0, 0.5 in row 1
  await touch(2);
  await touch(3); // overwrite: nothing new for rows 0 and 1
  expect(table.data[0]).toBe(1);
  await table.materialize();
  expect(rowsOf(table)).toEqual([0.75, 0.5, 0.75, 0.5, 0, 0]);
});

test("more overwrites than the list takes", async () => {
  const { table, optimizer, touch } = trained({ emaOverwriteFrequency: 1 });
  await touch(0);
  for (let i = 0; i < 200; i++) await touch(1, i === 0 ? -1 : 0);
  await table.materialize();
  expect(rowsOf(table)).toEqual([0.5, 0.5, 0, 0, 0, 0]);
  expect(rowsOf(optimizer.averages[0]!)).toEqual([0.5, 0.5, 0, 0, 0, 0]);
});

test("the clock starts anew before it would wrap", async () => {
  const table = Variable.zeros([6, 2], { runtime });
  const optimizer = new Adagrad({ ...exact, sparseEma: "lazy", emaOverwriteFrequency: 1000, runtime });
  optimizer.build([table]);
  const average = optimizer.averages[0]!;
  const lazy = new LazyAverage(runtime[runtimeInternals].memory, table, average, {
    momentum: 0.5,
    overwrites: true,
    clock: 2 ** 31 - 2,
  });
  await touch(optimizer, table, 0);
  await touch(optimizer, table, 1);
  expect(lazy.full).toBe(true);
  await touch(optimizer, table, 2);
  expect(lazy.full).toBe(false);
  await table.materialize();
  expect(rowsOf(average)).toEqual([0.875, 0.75, 0.5, 0, 0, 0]);
});

test("a dense gradient finds all rows up to date", async () => {
  const { table, optimizer, touch } = trained({ emaMomentum: 0, epsilon: 1 });
  await touch(0);
  await optimizer.applyGradients([[new Float32Array(12), table]]);
  await touch(1);
  await optimizer.applyGradients([[new Float32Array(12), table]]);
  expect(table.data[2]).toBeGreaterThan(0);
  expect(optimizer.averages[0]!.data).toEqual(table.data);
});

test("steps of another optimizer, assign, finalize and dispose find all rows up to date", async () => {
  const { table, optimizer, touch } = trained();
  const other = new Adagrad({ ...exact, useEma: false, runtime });
  await touch(0); // average 0.5
  await touch(1); // 0.75
  await other.applyGradients([[{ indices: [0], values: [[-1, -1]] }, table]]); // row 0: 2
  await touch(1, 0); // 0.5 * 0.75 + 0.5 * 2
  await optimizer.averages[0]!.materialize();
  expect(rowsOf(optimizer.averages[0]!)[0]).toBe(1.375);
  await touch(1, 0); // 1.6875
  table.assign(new Float32Array(12));
  await touch(1, 0); // 0.84375
  optimizer.finalizeVariableValues([table]);
  expect(rowsOf(table)[0]).toBe(0.84375);
  other.dispose();
});

test("an optimizer that is disposed leaves the overwrites that rows have missed", async () => {
  const { table, optimizer, touch } = trained({ emaOverwriteFrequency: 2 });
  await touch(0);
  await touch(1);
  expect(table.data[0]).toBe(1);
  optimizer.dispose();
  expect(table.data[0]).toBe(0.75);
});

// momentum and its complement, rounded to a dtype, do not sum to 1: over many steps that would add up.
test.each([
  ["float16", 0.99, 2 ** -11],
  ["float16", 0.9999, 2 ** -11],
  ["float32", 0.9999, 2 ** -24],
] as const)(
  "the average of a row that rests stays at the row: %s, momentum %d",
  (dtype, emaMomentum, roundoff) => {
    const table = Variable.ones([2, 1], { dtype, runtime });
    const optimizer = new Adagrad({ useEma: true, emaMomentum, sparseEma: "lazy", runtime });
    for (let i = 0; i < 1000; i++) optimizer.applyGradientsSync([[{ indices: [0], values: [[0]] }, table]]);
    // Both factors and their sum are rounded once.
    expect(Math.abs(rowsOf(optimizer.averages[0]!)[1]! - 1)).toBeLessThanOrEqual(3 * roundoff);
  },
);

test("a second optimizer keeps its averages eagerly", async () => {
  const { table, touch: first } = trained();
  const second = new Adagrad({ ...exact, sparseEma: "lazy", runtime });
  await first(0);
  await touch(second, table, 1);
  await touch(second, table, 2);
  expect(second.averages[0]!.data[2]).toBe(0.75);
});

test("updateStep by hand finds all rows up to date", async () => {
  const { table, optimizer, touch } = trained();
  await touch(0);
  await touch(1);
  optimizer.updateStep({ indices: [0], values: [[-1, -1]] }, table);
  expect(optimizer.averages[0]!.data[0]).toBe(0.75);
});

test("variables with dense gradients only are kept as ever", async () => {
  const bias = Variable.zeros([2], { runtime });
  const optimizer = new Adagrad({ ...exact, sparseEma: "lazy", runtime });
  for (let i = 0; i < 2; i++) await optimizer.applyGradients([[[i - 1, i - 1], bias]]);
  expect([...optimizer.averages[0]!.data]).toEqual([0.75, 0.75]);
});

describe("bad input", () => {
  test("another word", () => {
    expect(() => new Adagrad({ sparseEma: "sometimes" as never })).toThrow(OptionError);
  });

  test("a disposed variable is not materialized", async () => {
    const { table } = trained();
    table.dispose();
    await expect(table.materialize()).rejects.toThrow(DisposedVariableError);
  });

  test("assign while steps are pending would not know which values the averages have missed", async () => {
    const { table, touch } = trained();
    await touch(0);
    await touch(1);
    const pending = touch(2);
    expect(() => table.assign(new Float32Array(12))).toThrow(StateError);
    await pending;
  });
});

test("the config keeps the mode under a key of its own", () => {
  const optimizer = new Adagrad({ useEma: true, sparseEma: "lazy", accumulator: "rowwise" });
  const config = optimizer.getConfig();
  expect(config.shardgrad).toEqual({ sparse_ema: "lazy", accumulator: "rowwise" });
  expect(Adagrad.fromConfig(JSON.parse(JSON.stringify(config))).getConfig()).toEqual(config);
});
