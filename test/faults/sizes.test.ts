import { Adagrad, ArgumentError, OptionError, ShapeError, Variable } from "@shardgrad/core";
import { expect, test } from "vitest";
import { pooled } from "../support/devices.js";
import { thrownBy } from "../support/outcome.js";

/** Sizes that no machine can hold are refused before anything is done: nothing is taken, nothing is written. */

/** Rows of 512 float32 that take 8 TiB: a process can address them, a machine has less. */
const full = 2 ** 32 - 1;

test.each([
  ["rows that would be written, as the variable began with ones", { initializer: "ones" as const }, []],
  ["a function that writes them", { initializer: () => expect.fail("was called") }, []],
  ["an accumulator that is written beside rows of zeros", {}, [{}]],
])("a resize to more than the machine has is refused at once: %s", async (_, options, optimizers) => {
  const runtime = pooled(0);
  const table = Variable.zeros([10, 512], { runtime });
  for (const given of optimizers) new Adagrad({ ...given, runtime }).build([table]);
  const held = runtime.memoryBytes;
  const resizes = [
    () => table.resizeRows(full, options as never),
    () => table.resizeRowsSync(full, options as never),
  ];
  for (const resize of resizes) {
    const error = (await thrownBy(resize)) as ArgumentError;
    expect(error).toBeInstanceOf(ArgumentError);
    expect([error.argument, error.received]).toEqual(["rows", full]);
    expect(error.expected).toMatch(/^at most \d+ rows, as \d+ bytes are written for each new row/);
  }
  expect([table.shape, runtime.memoryBytes]).toEqual([[10, 512], held]);
  await runtime.close();
});

test("slots that are made while a resize waits are counted when it starts", async () => {
  const runtime = pooled(0);
  const table = Variable.zeros([10, 512], { runtime });
  const optimizer = new Adagrad({ runtime });
  const step = optimizer.applyGradients([[new Float32Array(5120), table]]);
  const resize = thrownBy(() => table.resizeRows(full));
  await step;
  expect(await resize).toBeInstanceOf(ArgumentError);
  expect(optimizer.accumulators[0]!.shape).toEqual([10, 512]);
  await runtime.close();
});

test("more than a process can address is refused, zeros or not", async () => {
  const runtime = pooled(0);
  const table = Variable.zeros([10, 2 ** 20], { runtime });
  const held = runtime.memoryBytes;
  const most = /^an integer from 0 to \d+$/;
  const resize = (await thrownBy(() => table.resizeRows(2 ** 32 - 1))) as ArgumentError;
  expect(resize).toMatchObject({ argument: "rows", received: 2 ** 32 - 1 });
  expect(resize.expected).toMatch(most);
  for (const reserveRows of [2 ** 32, 2 ** 52, Number.POSITIVE_INFINITY, -1]) {
    const error = (await thrownBy(() => new Variable([[1, 2]], { reserveRows, runtime }))) as OptionError;
    expect(error).toBeInstanceOf(OptionError);
    expect([error.argument, error.received]).toEqual(["reserveRows", reserveRows]);
    expect(error.expected).toMatch(most);
  }
  const reserve = () => Variable.zeros([1, 2 ** 20], { reserveRows: 2 ** 31, runtime });
  expect(await thrownBy(reserve)).toBeInstanceOf(OptionError);
  expect(runtime.memoryBytes).toBe(held);
  await runtime.close();
});

test("nor can such a variable be made, or a slot that is written", async () => {
  const runtime = pooled(0);
  expect(await thrownBy(() => Variable.zeros([2 ** 32, 2 ** 20], { runtime }))).toMatchObject({
    argument: "shape",
    received: [2 ** 32, 2 ** 20],
    expected: expect.stringMatching(/^at most \d+ bytes of float32$/),
  });
  const error = await thrownBy(() => Variable.ones([full, 512], { runtime }));
  expect(error).toBeInstanceOf(ShapeError);
  expect(runtime.memoryBytes).toBe(0);
  await runtime.close();
});
