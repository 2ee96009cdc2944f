import {
  Adagrad,
  ClosedRuntimeError,
  DisposedVariableError,
  IndexError,
  MemoryExhaustedError,
  Optimizer,
  QueueFullError,
  StateError,
  Variable,
  WorkerLostError,
} from "@shardgrad/core";
import { expect, test } from "vitest";
import { pooled } from "../support/devices.js";
import { thrownBy } from "../support/outcome.js";
import { valuesOf } from "../support/state.js";

/** Resizes that meet something in their way: all of a table and its slots is resized, or nothing is. */

/** More slots than a home has room for beside a segment of full size. */
class Hoarder extends Optimizer {
  override build(variables: readonly Variable[]): void {
    if (this.built) return;
    super.build(variables);
    for (let i = 0; i < 6; i++) this.makeSlots(variables, `slot${i}`, () => "ones");
  }

  updateStep(): void {}
}

test.each(["async", "sync"] as const)(
  "memory that ends with the fifth slot of a new segment, %s",
  async (mode) => {
    const runtime = pooled(0, { arenaBytes: 256 * 1024 });
    const table = Variable.ones([100, 16], { runtime });
    const optimizer = new Hoarder({ useEma: true, runtime });
    optimizer.build([table]);
    const before = [table, ...optimizer.variables].map((variable) => [variable.shape, valuesOf(variable)]);
    const resize = (rows: number) => (mode === "sync" ? table.resizeRowsSync(rows) : table.resizeRows(rows));
    const failed = await thrownBy(() => resize(50_000));
    expect(failed).toBeInstanceOf(MemoryExhaustedError);
    const held = runtime.memoryBytes;
    for (let i = 0; i < 20; i++)
      expect(await thrownBy(() => resize(50_000))).toBeInstanceOf(MemoryExhaustedError);
    expect(runtime.memoryBytes).toBe(held);
    expect([table, ...optimizer.variables].map((variable) => [variable.shape, valuesOf(variable)])).toEqual(
      before,
    );
    await resize(150);
    expect([table, ...optimizer.variables].map(({ shape }) => shape)).toEqual(Array(8).fill([150, 16]));
    await runtime.close();
  },
);

test("room for further rows is not insisted on where there is none", async () => {
  const runtime = pooled(0, { arenaBytes: 256 * 1024 });
  const table = Variable.ones([200, 16], { runtime });
  const optimizer = new Hoarder({ useEma: true, runtime });
  optimizer.build([table]);
  // Of the 192 KiB, 8 arrays of 200 rows take 100 KiB; 8 of 256 more, which a growth likes to have, would take 128.
  await table.resizeRows(210);
  await table.resizeRows(220);
  expect(table.segments.map(({ data }) => data.length / 16)).toEqual([200, 10, 10]);
  expect(optimizer.variables.every(({ shape }) => shape[0] === 220)).toBe(true);
  await runtime.close();
});

test("a table that is disposed of while its new rows are filled", async () => {
  const runtime = pooled(0);
  const make = () => {
    const table = Variable.ones([10, 1000], { name: "table", runtime });
    const optimizer = new Adagrad({ useEma: true, runtime });
    optimizer.build([table]);
    return { table, optimizer };
  };
  const gone = async () => {
    const { table, optimizer } = make();
    const resize = table.resizeRows(2000);
    setImmediate(() => {
      table.dispose();
      optimizer.dispose();
    });
    expect(await thrownBy(() => resize)).toBeInstanceOf(DisposedVariableError);
    expect(table.size).toBe(10_000);
  };
  for (let i = 0; i < 3; i++) await gone();
  const held = runtime.memoryBytes;
  for (let i = 0; i < 20; i++) await gone();
  expect(runtime.memoryBytes).toBe(held);
  await runtime.close();
});

const endings: Record<string, (optimizer: Adagrad) => void> = {
  "an optimizer": (optimizer) => optimizer.dispose(),
  "its slots, and then it": (optimizer) => {
    for (const slot of optimizer.variables) slot.dispose();
    optimizer.dispose();
  },
};

test.each(Object.keys(endings))("%s disposed of while new rows are filled: others go on", async (what) => {
  const runtime = pooled(0);
  const table = Variable.ones([10, 1000], { runtime });
  const lazy = new Adagrad({ useEma: true, sparseEma: "lazy", runtime });
  const kept = new Adagrad({ runtime });
  const step = { indices: [1], values: new Float32Array(1000).fill(1) };
  for (const optimizer of [lazy, kept]) await optimizer.applyGradients([[step, table]]);
  const resize = table.resizeRows(2000);
  setImmediate(() => endings[what]!(lazy));
  await resize;
  expect([table.shape, kept.accumulators[0]!.shape]).toEqual([
    [2000, 1000],
    [2000, 1000],
  ]);
  await kept.applyGradients([[{ ...step, indices: [1999] }, table]]);
  expect(lazy.variables.every(({ disposed }) => disposed)).toBe(true);
  await runtime.close();
});

test("the memory of such slots is nobody else's before the resize has ended", async () => {
  const runtime = pooled(0);
  const table = Variable.ones([10, 1000], { reserveRows: 2000, runtime });
  const optimizer = new Adagrad({ runtime });
  optimizer.build([table]);
  const resize = table.resizeRows(2000); // fills the accumulator's room after the table's
  const made: Variable[] = [];
  setImmediate(() => {
    optimizer.dispose();
    for (let i = 0; i < 3; i++) made.push(Variable.zeros([2_000_000], { runtime }));
  });
  await resize;
  expect(made.map((variable) => valuesOf(variable).every((value) => value === 0))).toEqual([
    true,
    true,
    true,
  ]);
  await runtime.close();
});

test("slots that a synchronous step makes while new rows are filled follow, too", async () => {
  const runtime = pooled(2);
  await runtime.ready();
  const table = Variable.ones([10, 1000], { runtime });
  const optimizer = new Adagrad({ useEma: true, emaMomentum: 0, learningRate: 1, runtime });
  const resize = table.resizeRows(2000);
  await new Promise(setImmediate);
  expect(table.shape[0]).toBe(10);
  optimizer.applyGradientsSync([[{ indices: [9], values: new Float32Array(1000) }, table]]);
  await resize;
  expect(optimizer.variables.map(({ shape }) => shape[0])).toEqual([2000, 2000]);
  expect(valuesOf(optimizer.averages[0]!).every((value) => value === 1)).toBe(true);
  expect(valuesOf(optimizer.accumulators[0]!).every((value) => value === Math.fround(0.1))).toBe(true);
  await runtime.close();
});

test("a resize inside a step is refused", async () => {
  const runtime = pooled(0);
  const table = Variable.ones([4, 4], { runtime });
  const errors: unknown[] = [];
  class Meddler extends Optimizer {
    updateStep(): void {
      try {
        table.resizeRowsSync(8);
      } catch (error) {
        errors.push(error);
      }
      table.resizeRows(8).catch((error) => errors.push(error));
    }
  }
  const optimizer = new Meddler({ runtime });
  optimizer.applyGradientsSync([[new Float32Array(16), table]]);
  await new Promise(setImmediate);
  expect(errors.map((error) => error instanceof StateError)).toEqual([true, true]);
  expect(table.shape).toEqual([4, 4]);
  await runtime.close();
});

test("close waits for a resize, and a closed or full queue refuses one", async () => {
  const runtime = pooled(0, { maxQueue: 1 });
  const table = Variable.ones([10, 1000], { runtime });
  const running = table.resizeRows(5000);
  const waiting = table.resizeRows(20);
  expect(await thrownBy(() => table.resizeRows(30))).toBeInstanceOf(QueueFullError);
  const closing = runtime.close();
  expect(await thrownBy(() => table.resizeRows(30))).toBeInstanceOf(ClosedRuntimeError);
  await Promise.all([running, waiting, closing]);
  expect(table.shape).toEqual([20, 1000]);
  expect(() => table.resizeRowsSync(30)).toThrow(ClosedRuntimeError);
});

test("close with a timeout refuses a resize that has not started", async () => {
  const runtime = pooled(0);
  const table = Variable.ones([10, 1000], { runtime });
  const running = table.resizeRows(5000);
  const waiting = thrownBy(() => table.resizeRows(20));
  await runtime.close({ signal: AbortSignal.abort() });
  await running;
  expect(await waiting).toBeInstanceOf(ClosedRuntimeError);
  expect(table.shape).toEqual([5000, 1000]);
});

test("gathers in the queue see the rows of their turn", async () => {
  const runtime = pooled(2);
  await runtime.ready();
  const width = 1000;
  const table = new Variable(
    Float32Array.from({ length: 500 * width }, (_, i) => Math.floor(i / width)),
    { shape: [500, width], runtime },
  );
  const rows = Uint32Array.from({ length: 500 }, (_, i) => 499 - i);
  const out = new Float32Array(width);
  const calls = [
    table.gatherAsync(rows), // in several parts
    table.resizeRows(100),
    thrownBy(() => table.gatherAsync([100], out)),
    table.gatherAsync([99, 0]),
    table.resizeRows(5000, { initializer: "ones" }),
    table.gatherAsync([499, 99]),
  ] as const;
  // Nothing has happened yet: rows that will come cannot be asked for, and nothing overtakes the queue.
  expect(table.shape[0]).toBe(500);
  expect(await thrownBy(() => table.gatherAsync([500]))).toBeInstanceOf(IndexError);
  expect(() => table.resizeRowsSync(7)).toThrow(StateError);
  const [all, , gone, few, , late] = await Promise.all(calls);
  expect(Array.from(rows, (_, i) => all[i * width + 999])).toEqual(Array.from(rows));
  expect(gone).toBeInstanceOf(IndexError);
  expect(out.every((value) => value === 0)).toBe(true);
  expect([few[0], few[width]]).toEqual([99, 0]);
  expect([late[0], late[width]]).toEqual([1, 99]);
  await runtime.close();
});

test("damage after a resize names rows of the whole table", async () => {
  const runtime = pooled(2);
  await runtime.ready();
  const width = 64;
  const table = Variable.zeros([10_000, width], { name: "table", runtime });
  const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime });
  optimizer.build([table]);
  await table.resizeRows(30_000);
  await table.resizeRows(100_000);
  expect(table.segments.length).toBe(3);
  const indices = Uint32Array.from({ length: 100_000 }, (_, i) => (i * 7) % 100_000);
  const gradient = { indices, values: new Float32Array(indices.length * width).fill(1) };
  const all = [table, ...optimizer.accumulators].flatMap(({ segments }) => segments);
  // The threads have begun when the first slice's row has changed. One of them may end too late all the same.
  const { data: first } = table.segments[0]!;
  let error: unknown;
  for (let attempt = 0; attempt < 60 && !(error instanceof WorkerLostError); attempt++) {
    for (const { data } of all) data.fill(0);
    let isOver = false;
    const step = thrownBy(() => optimizer.applyGradients([[gradient, table]])).finally(() => {
      isOver = true;
    });
    while (!isOver && first[0] === 0) await new Promise(setImmediate);
    await runtime.debugTerminateLane(attempt % 2);
    error = await step;
  }
  if (!(error instanceof WorkerLostError)) throw error ?? new Error("No thread ended in mid-step.");
  const named = error.damage.flatMap((part) => part.rows ?? []);
  expect(new Set(named)).toEqual(new Set(indices));
  const after = valuesOf(table);
  for (const { state, rows = [] } of error.damage) {
    if (state === "unknown") continue;
    for (const row of rows) {
      if (after[row * width] !== (state === "applied" ? -1 : 0)) expect.fail(`row ${row} is not ${state}`);
    }
  }
  await table.resizeRows(500);
  await optimizer.applyGradients([[{ indices: [499], values: new Float32Array(width) }, table]]);
  await runtime.close();
});
