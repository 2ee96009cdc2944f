import { Adagrad, IndexError, MemoryExhaustedError, Runtime, StateError, Variable } from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { runtimeInternals } from "../../packages/core/dist/runtime/internals.js";
import { variableInternals } from "../../packages/core/dist/variable/internals.js";
import { thrownBy } from "../support/outcome.js";

/** Attached variables whose owner adds and drops rows. */

const runtime = new Runtime({ threads: 0 });
const small = new Runtime({ threads: 0, arenaBytes: 128 * 1024 });
afterAll(async () => {
  await runtime.close();
  await small.close();
});

function attached(variable: Variable) {
  return Variable.attach(structuredClone(variable.handle()));
}

/** Rows whose elements are their number. */
function numbered(rows: number, width: number, options: object = {}): Variable {
  const values = Float32Array.from({ length: rows * width }, (_, i) => Math.floor(i / width));
  return new Variable(values, { shape: [rows, width], runtime, ...options });
}

describe("rows that come", () => {
  test("in place are read through the old handle", async () => {
    const table = numbered(10, 4, { reserveRows: 20 });
    const own = attached(table);
    expect(() => own.gather([11])).toThrow(IndexError);
    await table.resizeRows(12, { initializer: "ones" });
    expect([own.shape, own.size]).toEqual([[12, 4], 48]);
    expect([...own.gather([9, 11])]).toEqual([9, 9, 9, 9, 1, 1, 1, 1]);
    expect(() => own.gather([12])).toThrow(IndexError);
  });

  test("in memory that came later need a new handle", async () => {
    const table = numbered(10, 4);
    const own = attached(table);
    await table.resizeRows(20, { initializer: "ones" });
    expect([own.shape[0], ...own.gather([9])]).toEqual([20, 9, 9, 9, 9]);
    const out = new Float32Array(8);
    expect(() => own.gather([9, 10], out)).toThrow(StateError);
    expect(out.every((value) => value === 0)).toBe(true);
    expect([...attached(table).gather([9, 10])]).toEqual([9, 9, 9, 9, 1, 1, 1, 1]);
  });
});

describe("rows that go", () => {
  test("are not read; toArray gives those that are there", async () => {
    const table = numbered(10, 4);
    const own = attached(table);
    await table.resizeRows(5);
    expect(() => own.gather([5])).toThrow(IndexError);
    expect((own.toArray() as unknown[]).length).toBe(5);
    expect([...own.gather([4])]).toEqual([4, 4, 4, 4]);
  });

  test("and come again in other memory are not read there by an old handle that has read them before", async () => {
    const table = numbered(10, 4);
    await table.resizeRows(20);
    const own = attached(table);
    own.gather([15]);
    await table.resizeRows(10);
    const other = Variable.ones([6, 4], { runtime }); // may have the memory now
    await table.resizeRows(20);
    expect(() => own.gather([15])).toThrow(StateError);
    expect([...attached(table).gather([15])]).toEqual([0, 0, 0, 0]);
    other.dispose();
  });

  test("the same when the new segment takes the old one's address, with other rows", async () => {
    const table = numbered(10, 4, { reserveRows: 15 });
    await table.resizeRows(40);
    const own = attached(table);
    const address = table.segments[1]!.data.byteOffset;
    await table.resizeRows(8);
    await table.resizeRows(13);
    await table.resizeRows(41, { initializer: ([rows]) => Array.from({ length: rows! * 4 }, (_, i) => i) });
    expect(table.segments[1]!.data.byteOffset).toBe(address);
    expect(() => own.gather([30])).toThrow(StateError);
    expect(own.gather([14]).length).toBe(4);
  });
});

describe("rows that lie in several memories", () => {
  const width = 30_000;
  const make = () => Variable.ones([2, width], { runtime: small, reserveRows: 3 });

  test("come, go and come again", async () => {
    const table = make();
    expect(table.segments.length).toBeGreaterThan(4);
    const own = attached(table);
    await table.resizeRows(1);
    expect(() => own.gather([1])).toThrow(IndexError);
    await table.resizeRows(4, { initializer: "zeros" });
    expect(own.gather([0]).every((value) => value === 1)).toBe(true);
    expect(() => own.gather([0, 3])).toThrow(StateError);
    const all = attached(table).gather([3, 0]);
    expect([all[0], all[width - 1], all[width], all[2 * width - 1]]).toEqual([0, 0, 1, 1]);
    table.dispose();
  });

  test("a gather in the queue meets a resize", async () => {
    const table = make();
    const busy = small[runtimeInternals as never] as Runtime[typeof runtimeInternals];
    const first = busy.queue.run(() => new Promise((resolve) => setImmediate(resolve)));
    const shrunk = table.resizeRows(1);
    const late = thrownBy(() => table.gatherAsync([1]));
    expect(table.shape[0]).toBe(2);
    await Promise.all([first, shrunk]);
    expect(await late).toBeInstanceOf(IndexError);
    table.dispose();
  });
});

test("a slot of another shape has its own rows", async () => {
  const table = numbered(10, 4);
  const optimizer = new Adagrad({ accumulator: "rowwise", initialAccumulatorValue: 3, runtime });
  optimizer.build([table]);
  const own = attached(optimizer.accumulators[0]!);
  await table.resizeRows(12);
  expect([...own.gather([9])]).toEqual([3]);
  expect(() => own.gather([10])).toThrow(StateError);
  await table.resizeRows(8);
  expect(() => own.gather([8])).toThrow(IndexError);
});

test("to readers a table and its lazy average change their rows at once", async () => {
  const table = numbered(10, 4, { reserveRows: 20 });
  const optimizer = new Adagrad({ useEma: true, sparseEma: "lazy", runtime });
  await optimizer.applyGradients([[{ indices: [0], values: [[1, 1, 1, 1]] }, table]]);
  const { header, followers } = table[variableInternals as never] as Variable[typeof variableInternals];
  // The words are kept for somebody who may read them.
  table.handle();
  const seen: number[][] = [];
  const commit = () => {
    // The words for writes of the whole variable, and of its slots: odd, so that readers wait.
    seen.push([...header.guard.subarray(1, 3)].map((word) => word & 1));
  };
  const probe = { prepare: () => ({ fills: [], commit, discard() {} }) };
  const [average, accumulator, lazy] = [...followers] as [never, never, never];
  followers.clear();
  for (const follower of [probe, average, probe, accumulator, { ...probe }, lazy, { ...probe }])
    followers.add(follower);
  await table.resizeRows(15);
  await table.resizeRows(5);
  expect(seen).toEqual(Array(6).fill([1, 1]));
  expect([...header.guard.subarray(1, 3)].map((word) => word & 1)).toEqual([0, 0]);
});

describe("hundreds of segments", () => {
  test("are known to readers, and a variable gets as many as it wants", async () => {
    const table = Variable.zeros([1, 1000], { name: "table", runtime: small });
    const optimizer = new Adagrad({ useEma: true, runtime: small });
    optimizer.build([table]);
    const readers = [{ own: attached(table), rows: 1 }];
    let rows = 1;
    while (table.segments.length < 300) {
      rows += 5;
      table.resizeRowsSync(rows, { initializer: () => new Float32Array(5000).fill(rows) });
      if (readers.length < table.segments.length / 40) readers.push({ own: attached(table), rows });
    }
    expect(attached(table).gather([rows - 1])[999]).toBe(rows);
    const average = attached(optimizer.averages[0]!);
    expect(average.gather([rows - 1])[0]).toBe(rows);
    for (const { own, rows: known } of readers) {
      expect([own.shape[0], own.gather([known - 1]).length]).toEqual([rows, 1000]);
      expect(() => own.gather([rows - 1])).toThrow(StateError);
    }
    await table.resizeRows(3);
    expect(() => average.gather([3])).toThrow(IndexError);
    optimizer.dispose();
    table.dispose();
  }, 20_000);

  test("no room to describe them refuses the resize, and nothing has changed", async () => {
    const table = Variable.ones([1, 1000], { runtime: small });
    const optimizer = new Adagrad({ runtime: small });
    optimizer.build([table]);
    const [slot] = optimizer.accumulators as [Variable];
    const grow = async () => {
      await table.resizeRows(9);
      await table.resizeRows(1);
    };
    for (const variable of [table, slot]) {
      const { header } = variable[variableInternals as never] as Variable[typeof variableInternals];
      header.makeRoom = () => {
        throw new MemoryExhaustedError(2048);
      };
      expect(await thrownBy(() => table.resizeRows(9))).toBeInstanceOf(MemoryExhaustedError);
      Reflect.deleteProperty(header, "makeRoom");
      expect([table.shape[0], slot.shape[0], table.segments.length]).toEqual([1, 1, 1]);
    }
    await grow();
    const held = small.memoryBytes;
    for (let i = 0; i < 30; i++) await grow();
    expect(small.memoryBytes).toBe(held);
    optimizer.dispose();
    table.dispose();
  });
});
