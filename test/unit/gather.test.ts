import {
  Adagrad,
  ArgumentError,
  ClosedRuntimeError,
  DisposedVariableError,
  type DType,
  DtypeError,
  IndexError,
  Runtime,
  ShapeError,
  Variable,
} from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { pooled } from "../support/devices.js";
import { numberToHalf } from "../support/half.js";

const runtime = new Runtime({ threads: 0 });
const small = new Runtime({ threads: 0, arenaBytes: 128 * 1024 });
afterAll(async () => {
  await runtime.close();
  await small.close();
});

const table = new Variable(
  Array.from({ length: 50 }, (_, row) => [row, row + 0.25, row + 0.5]),
  { runtime },
);
const classes = { float32: Float32Array, float64: Float64Array, float16: Uint16Array };
const dtypes = Object.keys(classes) as DType[];

describe("rows", () => {
  test("in the order of the indices, as often as asked for", () => {
    expect(table.gather([49, 0, 49])).toEqual(
      Float32Array.of(49, 49.25, 49.5, 0, 0.25, 0.5, 49, 49.25, 49.5),
    );
    expect(table.gather([])).toEqual(new Float32Array(0));
  });

  test.each([Int32Array.of(1, 2), Uint32Array.of(1, 2), BigInt64Array.of(1n, 2n), [1, 2]])(
    "by %o",
    (indices) => {
      expect([...table.gather(indices)]).toEqual([1, 1.25, 1.5, 2, 2.25, 2.5]);
    },
  );

  test("a number of another type is shown as what it is", () => {
    for (const [row, shown] of [
      ["1", '"1"'],
      [1n, "1n"],
      [-1, "-1"],
    ])
      expect(() => table.gather([0, row] as never)).toThrow(
        `\`indices\`: expected integers from 0 to 49, got ${shown} at position 1`,
      );
  });

  test("more than are copied between two looks at the words", () => {
    const indices = Array.from({ length: 1000 }, (_, i) => (i * 7) % 50);
    const rows = table.gather(indices);
    expect(indices.every((row, i) => rows[3 * i] === row && rows[3 * i + 2] === row + 0.5)).toBe(true);
  });

  test.each(dtypes)("%s, rows of any length, with the bits of every NaN", (dtype) => {
    const { BYTES_PER_ELEMENT: bytes } = classes[dtype];
    for (const rowSize of [1, 2, 3, 4, 5, 8, 31, 700]) {
      const values = new classes[dtype](9 * rowSize);
      const raw = new Uint8Array(values.buffer);
      for (let i = 0; i < raw.length; i++) raw[i] = i % 5 === 0 ? 0xff : (i * 37) & 0xff; // NaN with payloads among them
      const variable = new Variable(values, { shape: [9, rowSize], runtime });
      for (const offset of [0, bytes, 2 * bytes]) {
        const out = new classes[dtype](new ArrayBuffer(offset + 3 * rowSize * bytes), offset);
        expect(variable.gather([8, 2, 3], out)).toBe(out);
        const rowBytes = rowSize * bytes;
        const expected = [8, 2, 3].flatMap((row) => [...raw.subarray(row * rowBytes, (row + 1) * rowBytes)]);
        expect([...new Uint8Array(out.buffer, offset)]).toEqual(expected);
      }
      variable.dispose();
    }
  });

  test("of a vector are its elements", () => {
    const vector = new Variable([1, 2, 3], { dtype: "float16", runtime });
    expect([...vector.gather([2, 0])]).toEqual([3, 1].map(numberToHalf));
  });

  test("of a variable in several memories", () => {
    const variable = Variable.zeros([3000, 16], { runtime: small });
    expect(variable.segments.length).toBeGreaterThan(2);
    for (const { start, data } of variable.segments)
      for (let i = 0; i < data.length; i++) data[i] = start + i;
    const indices = Array.from({ length: 500 }, (_, i) => (i * 1777) % 3000);
    const rows = variable.gather(indices);
    expect([...rows]).toEqual(indices.flatMap((row) => Array.from({ length: 16 }, (_, i) => row * 16 + i)));
    expect(
      (variable.toArray() as number[][]).every((row, r) => row[0] === 16 * r && row[15] === 16 * r + 15),
    ).toBe(true);
    variable.dispose();
  });

  test("that are larger than a memory", () => {
    const variable = Variable.zeros([3, 10_001], { runtime: small });
    for (const { start, data } of variable.segments)
      for (let i = 0; i < data.length; i++) data[i] = start + i;
    const rows = variable.gather([2, 0]);
    expect([rows[0], rows[10_000], rows[10_001], rows[20_001]]).toEqual([20_002, 30_002, 0, 10_000]);
    expect((variable.toArray() as number[][])[1]![10_000]).toBe(20_001);
    variable.dispose();
  });

  test("of slots, row-wise ones and averages too", async () => {
    const weights = Variable.zeros([5, 4], { runtime });
    const optimizer = new Adagrad({
      accumulator: "rowwise",
      useEma: true,
      initialAccumulatorValue: 0,
      runtime,
    });
    await optimizer.applyGradients([[{ indices: [3], values: [[2, 2, 2, 2]] }, weights]]);
    const [accumulator] = optimizer.accumulators as [Variable];
    expect([...accumulator.gather([3, 2])]).toEqual([4, 0]);
    const [average] = optimizer.averages as [Variable];
    expect([...average.gather([3])]).toEqual([...average.data.subarray(12, 16)]);
  });

  test("of no elements", () => {
    expect(Variable.zeros([4, 0], { runtime }).gather([1, 2])).toEqual(new Float32Array(0));
    expect(Variable.zeros([0, 4], { runtime }).gather([])).toEqual(new Float32Array(0));
    expect(Variable.zeros([4, 0], { runtime }).toArray()).toEqual([[], [], [], []]);
    expect(() => Variable.zeros([0, 4], { runtime }).gather([0])).toThrow(/there are no rows/);
  });
});

describe("between steps", () => {
  test("after the steps called before, before the ones called after", async () => {
    const pool = pooled(2);
    const weights = Variable.zeros([100, 64], { runtime: pool });
    const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime: pool });
    const step = () => optimizer.applyGradients([[new Float32Array(6400).fill(-1), weights]]);
    const first = step();
    const rows = weights.gatherAsync([0, 99]);
    const second = step();
    expect([...new Set(await rows)]).toEqual([1]);
    await Promise.all([first, second]);
    expect(weights.gather([0])[0]).toBeGreaterThan(1);
    await pool.close();
  });

  test("many rows in parts, with turns of the event loop", async () => {
    const weights = Variable.ones([1000, 256], { runtime });
    let turns = 0;
    const timer = setInterval(() => turns++);
    const indices = new Uint32Array(200_000).map((_, i) => i % 1000);
    const rows = await weights.gatherAsync(indices);
    clearInterval(timer);
    expect(rows.every((value) => value === 1)).toBe(true);
    expect(turns).toBeGreaterThan(1);
  });

  test("the memory stays until it is read", async () => {
    const weights = Variable.ones([1000, 256], { runtime });
    const rows = weights.gatherAsync(new Uint32Array(10_000));
    weights.dispose();
    const other = Variable.zeros([1000, 256], { runtime });
    expect((await rows).every((value) => value === 1)).toBe(true);
    other.dispose();
  });

  test("not of a variable that was disposed of while it waited", async () => {
    const weights = Variable.ones([4, 2], { runtime });
    const step = new Adagrad({ runtime }).applyGradients([[new Float32Array(8), weights]]);
    const rows = weights.gatherAsync([1]);
    weights.dispose();
    await step;
    await expect(rows).rejects.toThrow(DisposedVariableError);
  });

  test("not after close; `gather` stays", async () => {
    const closed = new Runtime({ threads: 0 });
    const weights = Variable.ones([4, 2], { runtime: closed });
    await closed.close();
    await expect(weights.gatherAsync([1])).rejects.toThrow(ClosedRuntimeError);
    expect([...weights.gather([1])]).toEqual([1, 1]);
  });
});

describe("bad input writes nothing", () => {
  const scalar = new Variable(1, { runtime });
  const disposed = Variable.zeros([2, 2], { runtime });
  disposed.dispose();
  const out = new Float32Array(6);
  const cases: [string, () => [Variable, ...unknown[]], new (...args: never[]) => Error][] = [
    ["a row beyond the last", () => [table, [1, 50], out], IndexError],
    ["a negative row", () => [table, [1, -1], out], IndexError],
    ["a fraction", () => [table, [1, 0.5], out], IndexError],
    ["a negative Int32", () => [table, Int32Array.of(1, -1), out], IndexError],
    ["a large BigInt", () => [table, BigInt64Array.of(1n, 1n << 40n), out], IndexError],
    ["a row of nothing", () => [Variable.zeros([0, 3], { runtime }), [0]], IndexError],
    ["indices of another kind", () => [table, Float64Array.of(1, 2), out], DtypeError],
    ["no indices", () => [table, undefined], DtypeError],
    ["out of another dtype", () => [table, [1, 2], new Float64Array(6)], DtypeError],
    ["out that is a list", () => [table, [1, 2], [0, 0, 0, 0, 0, 0]], DtypeError],
    ["out that is too short", () => [table, [1, 2], new Float32Array(5)], ShapeError],
    ["out that is too long", () => [table, [1], out], ShapeError],
    ["out in the variable's memory", () => [table, [1, 2], table.data.subarray(6, 12)], ArgumentError],
    ["a scalar", () => [scalar, [0]], ShapeError],
    ["a disposed variable", () => [disposed, [0]], DisposedVariableError],
  ];

  test.each(cases)("%s", async (_, make, expected) => {
    const [variable, ...rest] = make();
    const before = table.toArray();
    expect(() => (variable.gather as (...args: unknown[]) => unknown)(...rest)).toThrow(expected);
    await expect(
      (variable.gatherAsync as (...args: unknown[]) => unknown).apply(variable, rest),
    ).rejects.toThrow(expected);
    expect(out).toEqual(new Float32Array(6));
    expect(table.toArray()).toEqual(before);
  });

  test("out beside the variable, in the same memory, is taken", () => {
    const array = runtime.allocate(6, "float32", { near: table });
    expect([...table.gather([1, 2], array)]).toEqual([1, 1.25, 1.5, 2, 2.25, 2.5]);
    runtime.release(array);
  });
});
