import {
  Adagrad,
  DisposedVariableError,
  Runtime,
  StateError,
  Variable,
  WorkerLostError,
} from "@shardgrad/core";
import { LaneLostError } from "@shardgrad/workers";
import { afterAll, describe, expect, test } from "vitest";
import { runtimeInternals } from "../../packages/core/dist/runtime/internals.js";
import { thrownBy } from "../support/outcome.js";

/** What goes while lazy averages of it are behind, or while something waits for it. */

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

const exact = { learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, useEma: true, emaMomentum: 0.5 };

/** A table in whose row 0 an overwrite is due: 1 is to become 0.75. */
async function behind(on = runtime) {
  const table = Variable.zeros([100, 4], { runtime: on });
  const optimizer = new Adagrad({ ...exact, sparseEma: "lazy", emaOverwriteFrequency: 2, runtime: on });
  for (const row of [0, 1])
    await optimizer.applyGradients([[{ indices: [row], values: [[-1, -1, -1, -1]] }, table]]);
  return { table, optimizer };
}

/** A step of another optimizer over another variable, which has begun. */
function otherStep(): Promise<void> {
  return new Adagrad({ runtime }).applyGradients([[[1], Variable.zeros([1], { runtime })]]);
}

describe("a table that is disposed of: its memory is left alone", () => {
  type Ending = (ended: Awaited<ReturnType<typeof behind>>) => unknown;

  test.each<[string, Ending]>([
    ["by `optimizer.dispose`", ({ optimizer }) => optimizer.dispose()],
    ["by `materialize` of the average", ({ optimizer }) => optimizer.averages[0]!.materialize()],
    ["by `assign` to the average", ({ optimizer }) => optimizer.averages[0]!.assign(new Float32Array(400))],
  ])("%s", async (_, end) => {
    const { table, optimizer } = await behind();
    const place = table.data.byteOffset;
    table.dispose();
    const later = runtime.allocate(400).fill(7);
    expect(later.byteOffset).toBe(place);
    await thrownBy(() => end({ table, optimizer }));
    expect(new Set(later)).toEqual(new Set([7]));
    optimizer.dispose();
    runtime.release(later);
  });

  test("by a `materialize` that waited", async () => {
    const { table, optimizer } = await behind();
    const other = otherStep();
    const waiting = thrownBy(() => table.materialize());
    table.dispose();
    const later = runtime.allocate(400).fill(7);
    await other;
    expect(await waiting).toBeInstanceOf(DisposedVariableError);
    expect(new Set(later)).toEqual(new Set([7]));
    optimizer.dispose();
    runtime.release(later);
  });

  test("a `read` that has begun ends, and gives rows up to date", async () => {
    const { table, optimizer } = await behind();
    const values = table.read();
    table.dispose();
    expect((await values)[0]).toBe(0.75);
    optimizer.dispose();
  });

  test("its average is refused as long as it would have to be brought up to date", async () => {
    const { table, optimizer } = await behind();
    table.dispose();
    const [average] = optimizer.averages;
    expect(await thrownBy(() => average!.materialize())).toBeInstanceOf(DisposedVariableError);
    expect(await thrownBy(() => average!.read())).toBeInstanceOf(DisposedVariableError);
    optimizer.dispose();
  });
});

describe("an optimizer that is disposed of while steps wait or run", () => {
  test("brings its tables up to date behind them", async () => {
    const { table, optimizer } = await behind();
    const other = otherStep();
    optimizer.dispose();
    expect(table.data[0]).toBe(1); // a thread might be writing it
    await other;
    await otherStep();
    expect(table.data[0]).toBe(0.75);
  });

  test("in a runtime that is being closed, too", async () => {
    const own = new Runtime({ threads: 1, inlineThreshold: 0 });
    const table = Variable.zeros([100, 4], { runtime: own });
    const optimizer = new Adagrad({ ...exact, sparseEma: "lazy", emaOverwriteFrequency: 2, runtime: own });
    const step = (row: number) =>
      optimizer.applyGradients([[{ indices: [row], values: [[-1, -1, -1, -1]] }, table]]);
    await step(0);
    const last = step(1);
    const closed = own.close();
    optimizer.dispose();
    await last;
    await closed;
    expect(table.data[0]).toBe(0.75);
  });
});

describe("while threads bring a table up to date", () => {
  test("no synchronous step writes it", async () => {
    const { table, optimizer } = await behind();
    const done = table.materialize();
    const step = () => optimizer.applyGradientsSync([[{ indices: [0], values: [[0, 0, 0, 0]] }, table]]);
    expect(step).toThrow(StateError);
    expect(optimizer.iterations).toBe(2);
    await done;
    step();
    expect(optimizer.iterations).toBe(3);
  });

  test("`finalizeVariableValues` waits for its call", async () => {
    const { table, optimizer } = await behind();
    const done = table.materialize();
    expect(() => optimizer.finalizeVariableValues([table])).toThrow(StateError);
    await done;
    optimizer.finalizeVariableValues([table]);
  });
});

test("a thread that is lost while `assign` brings a table up to date is told as with a step", async () => {
  const own = new Runtime({ threads: 0 });
  const { table } = await behind(own);
  own[runtimeInternals].device.runSync = () => {
    throw new LaneLostError(1, [{ update: 0, state: "unknown", elements: [4, 8] }]);
  };
  const error = await thrownBy(() => table.assign(new Float32Array(400)));
  expect(error).toBeInstanceOf(WorkerLostError);
  const part = { variable: table.name, state: "unknown", elements: [4, 8] };
  expect((error as WorkerLostError).damage).toEqual([part]);
  await own.close();
});

describe("a resize waits for reads", () => {
  test("of the host", async () => {
    const own = new Runtime({ threads: 0 });
    const table = Variable.ones([10, 4], { runtime: own });
    const values = table.read();
    await table.resizeRows(20);
    expect((await values).length).toBe(40);
    await own.close();
  });

  test("of a device", async () => {
    const own = new Runtime({ threads: 0 });
    const table = Variable.ones([10, 4], { runtime: own });
    let arrive = () => {};
    const none = () => {};
    own[runtimeInternals].memory.residency = {
      ...{ hostAccess: none, hostRead: none, released: () => false },
      read: () => new Promise((resolve) => (arrive = resolve)),
    };
    const values = table.read();
    const resized = table.resizeRows(20);
    await new Promise(setImmediate);
    expect(table.shape).toEqual([10, 4]);
    arrive();
    await Promise.all([values, resized]);
    expect(table.shape).toEqual([20, 4]);
    await own.close();
  });
});
