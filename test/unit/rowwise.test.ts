import { Adagrad, OptionError, Runtime, SplitVariableError, Variable } from "@shardgrad/core";
import { expect, test } from "vitest";

test("a table takes one accumulator element a row, which the mean of its squares is added to", async () => {
  const table = Variable.zeros([4, 3], { name: "table" });
  const bias = Variable.zeros([2], { name: "bias" });
  const scalar = new Variable(0, { name: "scalar" });
  const optimizer = new Adagrad({
    learningRate: 1,
    initialAccumulatorValue: 0,
    epsilon: 0,
    accumulator: "rowwise",
  });
  await optimizer.applyGradients([
    [{ indices: [2], values: [[1, 5, 1]] }, table],
    [[3, -4], bias],
    [2, scalar],
  ]);
  expect(optimizer.accumulators.map(({ shape }) => shape)).toEqual([[4], [2], []]);
  expect(optimizer.accumulators.map((accumulator) => accumulator.toArray())).toEqual([
    [0, 0, 9, 0],
    [9, 16],
    4,
  ]);
  const third = Math.fround(1 / 3);
  expect(table.toArray()).toEqual([
    [0, 0, 0],
    [0, 0, 0],
    [-third, -Math.fround(5 / 3), -third],
    [0, 0, 0],
  ]);
  expect([bias.toArray(), scalar.toArray()]).toEqual([[-1, 1], -1]);
  optimizer.dispose();
});

test("the config keeps it under a key of its own, and Keras' keys stay as they are", () => {
  const optimizer = new Adagrad({ accumulator: "rowwise", duplicateIndices: "perRow" });
  const config = optimizer.getConfig();
  expect(config.shardgrad).toEqual({ duplicate_indices: "perRow", accumulator: "rowwise" });
  const { shardgrad, ...keras } = config;
  expect(keras).toEqual(new Adagrad().getConfig());
  expect(Adagrad.fromConfig(JSON.parse(JSON.stringify(config))).getConfig()).toEqual(config);
  expect(new Adagrad().getConfig()).not.toHaveProperty("shardgrad");
});

test("anything else is refused", () => {
  expect(() => new Adagrad({ accumulator: "row" as never })).toThrow(OptionError);
});

test("a table that is cut between rows keeps its accumulators beside them; a row that is cut is refused", async () => {
  const runtime = new Runtime({ threads: 0, arenaBytes: 2 ** 18 });
  const table = Variable.zeros([3000, 8], { runtime });
  expect(table.segments.length).toBeGreaterThan(1);
  const optimizer = new Adagrad({
    learningRate: 1,
    initialAccumulatorValue: 0,
    accumulator: "rowwise",
    runtime,
  });
  await optimizer.applyGradients([[{ indices: [0, 2999], values: new Float32Array(16).fill(2) }, table]]);
  const sums = optimizer.accumulators[0]!.toArray() as number[];
  expect([sums.length, sums[0], sums[1], sums[2999]]).toEqual([3000, 4, 0, 4]);
  const wide = Variable.zeros([2, 40_000], { runtime });
  const other = new Adagrad({ accumulator: "rowwise", runtime });
  const gradient = new Float32Array(80_000);
  await expect(other.applyGradients([[gradient, wide]])).rejects.toThrow(SplitVariableError);
  expect([other.built, other.variables.length]).toEqual([false, 0]);
  await runtime.close();
});
