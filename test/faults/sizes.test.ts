import { createRequire, syncBuiltinESMExports } from "node:module";
import { Adagrad, MemoryExhaustedError, OptionError, Variable } from "@shardgrad/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { pooled } from "../support/devices.js";
import { thrownBy } from "../support/outcome.js";

/**
 * More than the machine has is refused before anything is taken or written. The machine of these tests has a mebibyte: who
 * wrote more nevertheless would not end it.
 */

const os = createRequire(import.meta.url)("node:os");
const { totalmem } = os;
const MACHINE = 2 ** 20;

function machineHas(bytes: () => number): void {
  os.totalmem = bytes;
  syncBuiltinESMExports();
}
beforeEach(() => machineHas(() => MACHINE));
afterEach(() => machineHas(totalmem));

/** Rows of 2 KiB that take 0.8 of it. */
const MANY = 410;

test("a resize counts what is written beside the rows", async () => {
  const runtime = pooled(0);
  const table = Variable.zeros([10, 512], { runtime });
  const optimizer = new Adagrad({ useEma: true, runtime });
  optimizer.build([table]);
  const held = runtime.memoryBytes;
  for (const resize of [() => table.resizeRows(MANY), () => table.resizeRowsSync(MANY)]) {
    const error = (await thrownBy(resize)) as MemoryExhaustedError;
    expect(error).toBeInstanceOf(MemoryExhaustedError);
    // The accumulator and the average; zeros that nobody touches take no memory.
    expect(error.bytes).toBe(2 * 2048 * (MANY - 10));
    expect(error.message).toContain(`the machine has ${MACHINE}`);
  }
  expect([table, ...optimizer.variables].map(({ shape }) => shape[0])).toEqual([10, 10, 10]);
  expect(runtime.memoryBytes).toBe(held);
  await table.resizeRows(200);
  expect([table, ...optimizer.variables].map(({ shape }) => shape[0])).toEqual([200, 200, 200]);
  await runtime.close();
});

test("slots that are made while a resize waits are counted, too", async () => {
  const runtime = pooled(0);
  const table = Variable.zeros([10, 512], { runtime });
  const optimizer = new Adagrad({ useEma: true, runtime });
  const step = optimizer.applyGradients([[new Float32Array(5120), table]]);
  const resize = thrownBy(() => table.resizeRows(MANY));
  await step;
  expect(await resize).toBeInstanceOf(MemoryExhaustedError);
  expect(table.shape).toEqual([10, 512]);
  await runtime.close();
});

test("values that are written count, zeros only as far as the variable goes", async () => {
  const runtime = pooled(0);
  for (const initializer of ["zeros", "ones"] as const) {
    const table = Variable.zeros([300, 512], { runtime });
    await table.resizeRows(MANY, { initializer });
    expect(await thrownBy(() => table.resizeRows(600, { initializer }))).toBeInstanceOf(MemoryExhaustedError);
    expect(table.shape).toEqual([MANY, 512]);
  }
  await runtime.close();
});

test.each([2 ** 32, 2 ** 52, Number.POSITIVE_INFINITY, -1])("reserveRows: %s", async (reserveRows) => {
  const runtime = pooled(0);
  const error = (await thrownBy(() => new Variable([[1, 2]], { reserveRows, runtime }))) as OptionError;
  expect(error).toBeInstanceOf(OptionError);
  expect([error.argument, error.received]).toEqual(["reserveRows", reserveRows]);
  expect(error.expected).toBe("an integer from 0 to 4294967295");
  expect(runtime.memoryBytes).toBe(0);
  await runtime.close();
});
