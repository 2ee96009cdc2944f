import { Adagrad, IndexedSlices, Runtime, Variable } from "@shardgrad/core";
import { afterAll, expect, test } from "vitest";

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

test("keeps what it was given", () => {
  const indices = Int32Array.of(1, 0);
  const values = Float32Array.of(1, 2, 3, 4);
  const slices = new IndexedSlices({ indices, values, denseShape: [2, 2] });
  expect(slices.indices).toBe(indices);
  expect(slices.values).toBe(values);
  expect(slices.denseShape).toEqual([2, 2]);
  expect(new IndexedSlices({ indices: [0], values: [[1]] }).denseShape).toBeUndefined();
});

test("the example of semantics.md: 3 and 4 on a zero accumulator give 25 and 7/5, or 49 and 7/7", async () => {
  for (const [duplicateIndices, accumulator, value] of [
    ["perSlice", 25, -7 / 5],
    ["perRow", 49, -1],
  ] as const) {
    const w = new Variable([[0], [0]], { runtime });
    const options = { learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, duplicateIndices, runtime };
    const optimizer = new Adagrad(options);
    await optimizer.applyGradients([[new IndexedSlices({ indices: [0, 0], values: [[3], [4]] }), w]]);
    expect(optimizer.accumulators[0]!.toArray()).toEqual([[accumulator], [0]]);
    expect(w.toArray()).toEqual([[Math.fround(value)], [0]]);
  }
});

test("per slice is the default", () => {
  const w = new Variable([[0]], { runtime });
  const optimizer = new Adagrad({ initialAccumulatorValue: 0, runtime });
  optimizer.applyGradientsSync([[{ indices: [0, 0], values: [[3], [4]] }, w]]);
  expect(optimizer.accumulators[0]!.toArray()).toEqual([[25]]);
});
