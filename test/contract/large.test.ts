import { Adagrad, Variable } from "@shardgrad/core";
import { expect, test } from "vitest";
import { pooled } from "../support/devices.js";

/** Fills 6.1 GB of accumulators over several memories, so it runs with SHARDGRAD_LARGE=1 only. */

test.runIf(process.env.SHARDGRAD_LARGE)(
  "a table of 5.8 GB is cut into memories, still is one variable, and grows",
  async () => {
    const runtime = pooled(2);
    const [rows, dim] = [90_000_000, 16];
    const table = Variable.zeros([rows, dim], { name: "table", runtime });
    expect(table.segments.length).toBeGreaterThan(1);
    const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 3, epsilon: 0, runtime });
    const indices = [0, 1, rows / 2, rows - 1, rows - 1, 70_000_001];
    await optimizer.applyGradients([
      [{ indices, values: new Float32Array(indices.length * dim).fill(1) }, table],
    ]);
    const at = (row: number): number => {
      const { start, data } = table.segments.findLast((segment) => segment.start <= row * dim)!;
      return data[row * dim - start]!;
    };
    // One slice of ones: -1 / sqrt(3 + 1). Two of one row: -2 / sqrt(3 + 1 + 1).
    const twice = Math.fround(-2 / Math.fround(Math.sqrt(5)));
    expect(indices.map(at)).toEqual([-0.5, -0.5, -0.5, twice, twice, -0.5]);
    expect([5, rows - 2].map(at)).toEqual([0, 0]);
    const grown = 95_000_000;
    await table.resizeRows(grown, { initializer: "ones" });
    const slice = new Float32Array(2 * dim).fill(1);
    await optimizer.applyGradients([[{ indices: [grown - 1, 3], values: slice }, table]]);
    expect([0, 3, rows - 1, rows, grown - 2, grown - 1].map(at)).toEqual([-0.5, -0.5, twice, 1, 1, 0.5]);
    await runtime.close();
  },
  180_000,
);
