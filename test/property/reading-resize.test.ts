import { Adagrad, type AdagradOptions, Variable } from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { pooled } from "../support/devices.js";
import { Random } from "../support/random.js";
import { Readers } from "../support/readers.js";

/**
 * Readers on other threads while rows come and go: each row is whole, and is the row that was asked for. Element 0 of a
 * row is its number and has no gradient; the others are equal to each other whenever the row is whole. What takes the
 * memory of rows that went has neither.
 */

const width = 64;
const most = 400;

function numbered(first: number, rows: number): Float32Array {
  return Float32Array.from({ length: rows * width }, (_, i) => (i % width === 0 ? first + i / width : 0));
}

/** Memory that has been somebody else's: rows of it count as torn. */
function spoiled(count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => -1 - i);
}

function slices(random: Random, rows: number) {
  const indices = random.indices(32, rows, false);
  const values = new Float32Array(32 * width);
  for (let at = 0; at < values.length; at += width) values.fill(random.next() - 0.5, at + 1, at + width);
  return { indices, values };
}

interface Case {
  readonly name: string;
  readonly options?: AdagradOptions;
  readonly reserveRows?: number;
  readonly arenaBytes?: number;
}

// Averages of integers with a momentum of 0.5 are exact.
const averages = { useEma: true, emaMomentum: 0.5, emaOverwriteFrequency: 5 } as const;
const cases: Case[] = [
  { name: "in new segments" },
  { name: "in place", reserveRows: most },
  { name: "some in place, some in new segments", reserveRows: 150 },
  { name: "in small memories", arenaBytes: 256 * 1024 },
  { name: "with eager averages", options: averages },
  { name: "with lazy averages", options: { ...averages, sparseEma: "lazy" } },
  {
    name: "with lazy averages, in place and in small memories",
    ...{ options: { ...averages, sparseEma: "lazy" }, reserveRows: 200, arenaBytes: 256 * 1024 },
  },
];

describe.each([0, 2])("readers while rows come and go, %i lanes", (threads) => {
  test.each(cases)("$name: no row is torn, or another row", async ({ options, reserveRows, arenaBytes }) => {
    const runtime = pooled(threads, arenaBytes === undefined ? {} : { arenaBytes });
    await runtime.ready();
    const random = new Random(threads + (reserveRows ?? 0));
    const table = new Variable(([rows]) => numbered(0, rows!), {
      ...{ shape: [100, width], name: "table", reserveRows, runtime },
    });
    const optimizer = new Adagrad({ ...options, learningRate: 0.1, runtime });
    optimizer.build([table]);
    const arrays = [table, ...optimizer.averages, ...optimizer.accumulators];
    const readers = new Readers(arrays, { resized: { numbered: arrays.length - 1 } });
    const cycle = async (turn: number) => {
      const step = () => optimizer.applyGradients([[slices(random, table.shape[0]!), table]]);
      await step();
      await table.resizeRows(10 + random.below(90));
      const spoilers = [1, 2, 3].map(() => new Variable(spoiled(random.below(300) * width), { runtime }));
      await step();
      for (const spoiler of spoilers) spoiler.dispose();
      const before = table.shape[0]!;
      await table.resizeRows(100 + random.below(most - 100), {
        initializer: ([rows]) => numbered(before, rows!),
      });
      // Handles of other sizes are in use, as are some that do not know the last rows.
      if (turn % 3 === 0) readers.handOut(arrays);
    };
    try {
      await readers.during(cycle, { least: 60, reads: 5000 });
    } finally {
      await readers.stop();
      await runtime.close();
    }
    expect(readers.torn).toBe(0);
    expect(readers.refused).toBeGreaterThan(0);
  });
});
