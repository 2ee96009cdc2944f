import { setTimeout } from "node:timers/promises";
import { Adagrad, Variable } from "@shardgrad/core";
import { expect, test } from "vitest";
import { variableInternals } from "../../packages/core/dist/variable/internals.js";
import { pooled } from "../support/devices.js";
import { thrownBy } from "../support/outcome.js";

/** Version words that are odd, which readers wait for. */
function oddWords(variable: Variable): number {
  const { storage } = variable[variableInternals as never] as Variable[typeof variableInternals];
  return storage.segments.reduce((sum, { home, versions: { block, mask } }) => {
    const words = new Int32Array(home.arena.memory.buffer, block.offset, mask + 1);
    return sum + words.filter((word) => word % 2 !== 0).length;
  }, 0);
}

// WebAssembly: a thread within native code ends only when that returns.
test("a thread that dies while it writes rows does not make readers wait for ever", async () => {
  const rows = 2000;
  const width = 512;
  const slices = Array.from({ length: 100_000 }, (_, i) => (i * 7) % rows);
  let odd = 0;
  for (let turn = 0; turn < 4; turn++) {
    const runtime = pooled(2, { kernels: "wasm" });
    await runtime.ready();
    const table = Variable.ones([rows, width], { runtime });
    const values = runtime.allocate([slices.length, width], "float32", { near: table }).fill(0.5);
    const optimizer = new Adagrad({ runtime });
    optimizer.build([table]);
    const step = thrownBy(() => optimizer.applyGradients([[{ indices: slices, values }, table]]));
    await setTimeout(6 + turn);
    await runtime.debugTerminateLane(turn % 2);
    odd += oddWords(table);
    await step;
    expect(oddWords(table)).toBe(0);
    expect(table.gather(slices.slice(0, rows)).length).toBe(rows * width);
    expect(Variable.attach(table.handle()).gather([0, rows - 1]).length).toBe(2 * width);
    await runtime.close();
  }
  expect(odd).toBeGreaterThan(0); // some thread did die in a row
});

test("the whole-variable word is even again after a lost thread", async () => {
  const runtime = pooled(2);
  await runtime.ready();
  const weights = Variable.ones([16_000_000], { runtime });
  const gradient = runtime.allocate(weights.size).fill(0.5);
  const optimizer = new Adagrad({ runtime });
  optimizer.build([weights]);
  const step = thrownBy(() => optimizer.applyGradients([[gradient, weights]]));
  await setTimeout(2);
  await runtime.debugTerminateLane(1);
  await step;
  const { header } = weights[variableInternals as never] as Variable[typeof variableInternals];
  expect([header.guard[1]! % 2, header.guard[2]! % 2]).toEqual([0, 0]);
  expect(weights.gather([0, weights.size - 1]).length).toBe(2);
  await runtime.close();
});
