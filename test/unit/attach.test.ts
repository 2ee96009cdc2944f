import { once } from "node:events";
import { Worker } from "node:worker_threads";
import {
  Adagrad,
  ArgumentError,
  type AttachedVariable,
  type AttachOptions,
  DisposedVariableError,
  DtypeError,
  IndexError,
  OptionError,
  Runtime,
  ShapeError,
  SplitVariableError,
  StateError,
  Variable,
  type VariableHandle,
} from "@shardgrad/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageVersion } from "../../packages/core/dist/version.js";
import corePackage from "../../packages/core/package.json" with { type: "json" };
import { pooled } from "../support/devices.js";
import { Readers } from "../support/readers.js";

const runtime = new Runtime({ threads: 0 });
const small = new Runtime({ threads: 0, arenaBytes: 128 * 1024 });
afterAll(async () => {
  await runtime.close();
  await small.close();
});

const table = new Variable(
  [
    [1, 2, 3],
    [4, 5, 6],
  ],
  { name: "table", runtime },
);

function attached(variable: Variable, options?: AttachOptions): AttachedVariable {
  return Variable.attach(structuredClone(variable.handle()), options);
}

describe("in another thread", () => {
  let worker: Worker;
  beforeAll(() => {
    worker = new Worker(new URL("../support/attached-worker.mjs", import.meta.url));
  });
  afterAll(() => worker.terminate());

  async function ask(handle: VariableHandle, name: string, args: unknown[] = [], options?: AttachOptions) {
    worker.postMessage({ handle, options, name, args });
    const [answer] = await once(worker, "message");
    return answer;
  }

  test("the same values, as they are now", async () => {
    const weights = new Variable(
      [
        [1, 2],
        [3, 4],
      ],
      { name: "w", dtype: "float64", runtime },
    );
    const handle = weights.handle();
    expect(await ask(handle, "gather", [[1, 0]])).toEqual({ result: Float64Array.of(3, 4, 1, 2) });
    weights.assign([
      [5, 6],
      [7, 8],
    ]);
    expect(await ask(handle, "toArray")).toEqual({
      result: [
        [5, 6],
        [7, 8],
      ],
    });
    expect(await ask(handle, "name")).toEqual({ result: "w" });
    expect(await ask(handle, "shape")).toEqual({ result: [2, 2] });
    expect(await ask(handle, "dtype")).toEqual({ result: "float64" });
  });

  test("a variable in several memories", async () => {
    const variable = Variable.zeros([3000, 16], { runtime: small });
    for (const { start, data } of variable.segments)
      for (let i = 0; i < data.length; i++) data[i] = start + i;
    const { result } = await ask(variable.handle(), "gather", [[2999, 0, 1234]]);
    expect([result[0], result[16], result[47]]).toEqual([2999 * 16, 0, 1234 * 16 + 15]);
    variable.dispose();
  });

  test("a slot that shares its variable's version words", async () => {
    const weights = Variable.zeros([4, 2], { runtime });
    const optimizer = new Adagrad({ accumulator: "rowwise", initialAccumulatorValue: 0, runtime });
    await optimizer.applyGradients([[{ indices: [2], values: [[3, 3]] }, weights]]);
    expect(await ask(optimizer.accumulators[0]!.handle(), "gather", [[2, 1]])).toEqual({
      result: Float32Array.of(9, 0),
    });
  });

  test("views that write, where they are asked for", async () => {
    const weights = Variable.ones([4], { runtime });
    expect(await ask(weights.handle(), "data")).toMatchObject({ code: "ERR_SHARDGRAD_STATE" });
    const { result } = await ask(weights.handle(), "data", [], { writable: true });
    result[1] = 7;
    expect(weights.toArray()).toEqual([1, 7, 1, 1]);
  });

  test("not after dispose", async () => {
    const weights = Variable.ones([4, 2], { runtime });
    const handle = weights.handle();
    weights.dispose();
    expect(await ask(handle, "gather", [[1]])).toMatchObject({ code: "ERR_SHARDGRAD_DISPOSED_VARIABLE" });
  });
});

describe("in the same thread", () => {
  test("rows, now and later", () => {
    const weights = new Variable(
      [
        [1, 2],
        [3, 4],
      ],
      { runtime },
    );
    const own = attached(weights);
    expect(own).toMatchObject({
      name: "Variable",
      shape: [2, 2],
      dtype: "float32",
      size: 4,
      disposed: false,
    });
    const out = new Float32Array(2);
    expect(own.gather([1], out)).toBe(out);
    weights.data[3] = 9;
    expect([...own.gather([1])]).toEqual([3, 9]);
    weights.dispose();
    expect(own.disposed).toBe(true);
    expect(() => own.gather([1])).toThrow(DisposedVariableError);
    expect(() => own.toArray()).toThrow(DisposedVariableError);
    expect(() => weights.handle()).toThrow(DisposedVariableError);
  });

  test("a scalar has a value and no rows", () => {
    const own = attached(new Variable(2.5, { runtime }));
    expect(own.toArray()).toBe(2.5);
    expect(() => own.gather([0])).toThrow(ShapeError);
  });

  test("writable or not", () => {
    const weights = Variable.ones([3, 2], { runtime });
    expect(() => attached(weights).segments).toThrow(StateError);
    const own = attached(weights, { writable: true });
    own.segments[0]!.data.fill(2);
    expect(weights.toArray()).toEqual([
      [2, 2],
      [2, 2],
      [2, 2],
    ]);
    expect(() => own.gather([1], own.data.subarray(2, 4))).toThrow(ArgumentError);
    const split = Variable.zeros([3000, 16], { runtime: small });
    expect(() => attached(split, { writable: true }).data).toThrow(SplitVariableError);
    expect(attached(split, { writable: true }).segments.length).toBe(split.segments.length);
    split.dispose();
  });

  test("a step of this thread that writes everything does not keep it waiting", async () => {
    const pool = pooled(2);
    await pool.ready();
    const weights = Variable.ones([1000, 64], { runtime: pool });
    const own = attached(weights);
    const step = new Adagrad({ runtime: pool }).applyGradients([[new Float32Array(64_000).fill(1), weights]]);
    const before = own.gather([999]);
    expect(before.every((value) => value === before[0])).toBe(true);
    await step;
    await pool.close();
  });
});

describe("bad input", () => {
  const handle = table.handle();
  test.each([
    ["nothing", undefined],
    ["null", null],
    ["a variable", table],
    ["half a handle", { version: handle.version, name: "table" }],
    ["a handle that lost its memory on the way", { ...handle, guard: {} }],
    ["another version's handle", { ...handle, version: "0.0.9" }],
  ])("%s", (_, given) => {
    expect(() => Variable.attach(given as VariableHandle)).toThrow(ArgumentError);
  });

  test("the message names both versions", () => {
    expect(() => Variable.attach({ ...handle, version: "0.0.9" })).toThrow(/0\.0\.9.*0\.1\.0/);
    expect(packageVersion).toBe(corePackage.version);
  });

  test.each([{ writeable: true }, { writable: 1 }, null, true])("options %o", (options) => {
    expect(() => Variable.attach(handle, options as AttachOptions)).toThrow(OptionError);
  });

  test("rows and arrays, as with a variable's own", () => {
    const out = new Float32Array(3);
    const own = attached(table);
    expect(() => own.gather([2], out)).toThrow(IndexError);
    expect(() => own.gather([1, 0], out)).toThrow(ShapeError);
    expect(() => own.gather([1], new Float64Array(3) as never)).toThrow(DtypeError);
    expect([...out]).toEqual([0, 0, 0]);
  });
});

describe("a variable that changes its rows", () => {
  test("`resizeRows`, with room and without, and a slot", async () => {
    const weights = Variable.ones([10, 4], { runtime, reserveRows: 20 });
    const optimizer = new Adagrad({ initialAccumulatorValue: 2, runtime });
    const step = () => optimizer.applyGradients([[{ indices: [], values: new Float32Array(0) }, weights]]);
    await step();
    const [own, slot] = [attached(weights), attached(optimizer.accumulators[0]!)];
    await weights.resizeRows(20);
    expect([own.shape, own.size]).toEqual([[20, 4], 80]);
    expect([...own.gather([19])]).toEqual([1, 1, 1, 1]);
    expect([...slot.gather([19])]).toEqual([2, 2, 2, 2]);
    await weights.resizeRows(5000);
    expect([...own.gather([19])]).toEqual([1, 1, 1, 1]);
    expect(() => own.gather([4999])).toThrow(StateError);
    expect([...attached(weights).gather([4999])]).toEqual([1, 1, 1, 1]);
    expect([...weights.gather([4999, 0])]).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
    expect([...optimizer.accumulators[0]!.gather([4999])]).toEqual([2, 2, 2, 2]);
    weights.resizeRowsSync(3);
    expect(() => own.gather([3])).toThrow(IndexError);
    expect(() => slot.gather([3])).toThrow(IndexError);
    expect([...own.gather([2])]).toEqual([1, 1, 1, 1]);
    expect((weights.toArray() as unknown[]).length).toBe(3);
    expect((own.toArray() as unknown[]).length).toBe(3);
  });
});

test("a thread that reads when the memory is given back learns it, and sees nothing else", async () => {
  const size = 64 * 64;
  for (let turn = 0; turn < 5; turn++) {
    const weights = Variable.ones([64, 64], { runtime });
    const readers = new Readers([weights], { rowsAtOnce: 64 });
    await readers.during(async () => {}, { reads: 200 });
    const { byteOffset } = weights.data;
    weights.dispose();
    // Takes the memory's place; rows of it have different elements, which the reader would count as torn.
    const next = new Variable(
      Float32Array.from({ length: size }, (_, i) => i),
      { runtime },
    );
    expect(next.data.byteOffset).toBe(byteOffset);
    const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 1));
    const reading = readers.during(pause, { reads: Number.POSITIVE_INFINITY });
    await expect(reading).rejects.toMatchObject({ code: "ERR_SHARDGRAD_DISPOSED_VARIABLE" });
    expect(readers.torn).toBe(0);
    next.dispose();
  }
});
