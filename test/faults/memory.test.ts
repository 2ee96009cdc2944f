import { Adagrad, MemoryExhaustedError, Runtime, ShardgradError, Variable } from "@shardgrad/core";
import { expect, test } from "vitest";
import { thrownBy } from "../support/outcome.js";
import { expectSameState, stateOf } from "../support/state.js";

/** Memory that cannot be had: a typed error, and nothing has changed. */

const SMALL = 256 * 1024;

test.each(["async", "sync"] as const)(
  "a gradient that finds no room beside its variable, %s",
  async (mode) => {
    const runtime = new Runtime({ threads: 2, inlineThreshold: 0, arenaBytes: SMALL });
    const table = Variable.ones([4, 64], { name: "table", runtime });
    const optimizer = new Adagrad({ useEma: true, emaOverwriteFrequency: 1, runtime });
    const many = 10_000;
    const gradient = { indices: new Uint32Array(many), values: new Float32Array(many * 64) };
    const step = () =>
      mode === "sync"
        ? optimizer.applyGradientsSync([[gradient, table]])
        : optimizer.applyGradients([[gradient, table]]);
    for (const built of [false, true]) {
      const before = stateOf(optimizer, [table]);
      const held = runtime.memoryBytes;
      for (let i = 0; i < 5; i++) {
        const error = await thrownBy(step);
        expect(error).toBeInstanceOf(MemoryExhaustedError);
        expect(error).toBeInstanceOf(ShardgradError);
        expectSameState(stateOf(optimizer, [table]), before, built ? "built" : "not built");
      }
      expect(runtime.memoryBytes).toBe(held);
      await optimizer.applyGradients([[{ indices: [1], values: [new Array(64).fill(1)] }, table]]);
    }
    expect(optimizer.iterations).toBe(2);
    await runtime.close();
  },
);

test("an array larger than any memory", () => {
  const runtime = new Runtime({ threads: 0, arenaBytes: SMALL });
  expect(() => runtime.allocate(1_000_000)).toThrow(MemoryExhaustedError);
  const w = Variable.ones([10], { runtime });
  expect(w.data[9]).toBe(1);
});

/** Rows are short and memories small, so that little is to spare beside full segments. */
test.each([
  [256, 12],
  [512, 2],
  [512, 5],
  [512, 40],
  [1024, 3],
  [1024, 64],
])("memories of %i KiB have what they promise to tables of rows of %i", async (KiB, width) => {
  const runtime = new Runtime({ threads: 0, arenaBytes: KiB * 1024 });
  const optimizer = new Adagrad({
    ...{ useEma: true, sparseEma: "lazy", emaOverwriteFrequency: 2, runtime },
  });
  // Small tables, too, which share the memories of larger ones.
  const tables = [1, 2, 9, 40, 300, 1000, 8000].map((elements) =>
    Variable.ones([Math.ceil((elements * 16) / width), width], { runtime }),
  );
  optimizer.build(tables);
  const row = { indices: [0], values: new Float32Array(width).fill(1) };
  for (let i = 0; i < 3; i++) {
    await optimizer.applyGradients(tables.map((table) => [row, table] as const));
    await optimizer.applyGradients(
      tables.map((table) => [new Float32Array(table.size).fill(1), table] as const),
    );
  }
  expect(optimizer.iterations).toBe(6);
  await runtime.close();
});
