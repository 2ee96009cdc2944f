import { Adagrad, type AdagradOptions, type DType, Variable } from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { pooled } from "../support/devices.js";
import { numberToHalf } from "../support/half.js";
import { Random } from "../support/random.js";
import { Readers } from "../support/readers.js";

/**
 * Rows are whole for readers on other threads while steps write them. In every state between two writes all elements of
 * a row are equal: rows start constant and every gradient is constant over a row.
 */

const rows = 200;
const rowSize = 512;

function constantRows(random: Random, count: number, dtype: DType) {
  const values =
    dtype === "float32"
      ? new Float32Array(count * rowSize)
      : dtype === "float64"
        ? new Float64Array(count * rowSize)
        : new Uint16Array(count * rowSize);
  for (let row = 0; row < count; row++) {
    const value = random.next() * 2 - 1;
    values.fill(dtype === "float16" ? numberToHalf(value) : value, row * rowSize, (row + 1) * rowSize);
  }
  return values;
}

interface Case extends AdagradOptions {
  readonly name: string;
  readonly dtype?: DType;
  readonly arenaBytes?: number;
  /** Every so many steps the gradient is dense. */
  readonly denseEvery?: number;
}

const cases: Case[] = [
  { name: "sparse steps" },
  { name: "sparse steps, float64", dtype: "float64" },
  { name: "sparse steps, float16", dtype: "float16" },
  { name: "row-wise accumulators", accumulator: "rowwise" },
  { name: "several memories", arenaBytes: 512 * 1024 },
  { name: "dense steps in between", denseEvery: 3 },
  { name: "eager averages with overwrites", useEma: true, emaOverwriteFrequency: 2 },
  { name: "lazy averages with overwrites", useEma: true, emaOverwriteFrequency: 3, sparseEma: "lazy" },
  {
    name: "lazy averages, dense steps in between",
    ...{ useEma: true, emaOverwriteFrequency: 5, sparseEma: "lazy", denseEvery: 7, emaMomentum: 0.9 },
  },
];

describe.each([0, 2])("readers during steps, %i lanes", (threads) => {
  test.each(cases)(
    "$name: no row is torn",
    async ({ name, dtype = "float32", arenaBytes, denseEvery, ...options }) => {
      const runtime = pooled(threads, arenaBytes === undefined ? {} : { arenaBytes });
      await runtime.ready();
      const random = new Random(threads + name.length);
      const table = new Variable(constantRows(random, rows, dtype), {
        shape: [rows, rowSize],
        dtype,
        runtime,
      });
      const optimizer = new Adagrad({ ...options, learningRate: 0.1, runtime });
      // Made before, so that steps follow each other closely.
      const dense = Array.from({ length: 3 }, () => constantRows(random, rows, dtype));
      const slices = Array.from({ length: 8 }, () => constantRows(random, 64, dtype));
      const step = (turn: number) => {
        if (denseEvery !== undefined && turn % denseEvery === denseEvery - 1)
          return optimizer.applyGradients([[dense[turn % 3]!, table]]);
        const indices = random.indices(64, rows, false);
        return optimizer.applyGradients([[{ indices, values: slices[turn % 8]! }, table]]);
      };
      await step(0);
      const elementwise = optimizer.accumulators.filter(({ shape }) => shape.length === 2);
      const readers = new Readers([table, ...elementwise, ...optimizer.averages]);
      try {
        await readers.during(step, { least: 100, reads: 10_000 });
      } finally {
        await readers.stop();
        await runtime.close();
      }
      expect(readers.torn).toBe(0);
    },
  );

  test("assigned and finalized values", async () => {
    const runtime = pooled(threads);
    await runtime.ready();
    const random = new Random(threads);
    const table = new Variable(constantRows(random, rows, "float32"), { shape: [rows, rowSize], runtime });
    const optimizer = new Adagrad({ useEma: true, runtime });
    const readers = new Readers([table]);
    const work = async () => {
      const values = constantRows(random, rows, "float32");
      table.assign(
        Array.from({ length: rows }, (_, r) => [...values.subarray(r * rowSize, (r + 1) * rowSize)]),
      );
      await optimizer.applyGradients([[values, table]]);
      optimizer.finalizeVariableValues([table]);
    };
    try {
      await readers.during(work, { least: 10, reads: 500 });
    } finally {
      await readers.stop();
      await runtime.close();
    }
    expect(readers.torn).toBe(0);
  });

  test("the thread of the variable reads whole rows while lanes write them", async () => {
    const runtime = pooled(threads);
    await runtime.ready();
    const random = new Random(threads);
    const table = new Variable(constantRows(random, rows, "float32"), { shape: [rows, rowSize], runtime });
    const optimizer = new Adagrad({ useEma: true, emaOverwriteFrequency: 4, runtime });
    const own = Variable.attach(structuredClone(table.handle()));
    for (let turn = 0; turn < 20; turn++) {
      const indices = random.indices(64, rows, false);
      const gradient =
        turn % 2 === 0
          ? constantRows(random, rows, "float32")
          : { indices, values: constantRows(random, 64, "float32") };
      let done = false;
      const step = optimizer.applyGradients([[gradient, table]]).then(() => {
        done = true;
      });
      for (let look = 0; look < 3 || !done; look++) {
        const values = look % 3 === 2 ? await table.read() : (look % 3 === 0 ? table : own).gather(indices);
        for (let at = 0; at < values.length; at += rowSize)
          expect(values.subarray(at, at + rowSize).every((v) => v === values[at])).toBe(true);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await step;
    }
    await runtime.close();
  });
});
