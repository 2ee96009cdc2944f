import {
  Adagrad,
  ArgumentError,
  DisposedVariableError,
  DtypeError,
  Optimizer,
  OptionError,
  Runtime,
  ShapeError,
  SplitVariableError,
  StateError,
  Variable,
} from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { thrownBy } from "../support/outcome.js";
import { valuesOf } from "../support/state.js";

const runtime = new Runtime({ threads: 0 });

/** Rates and gradients of one move a row by 1 when it is touched for the first time. */
const exact = { learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime };

describe("rows and memory", () => {
  test("reserved rows: one array, in place, old views stay views of the same rows", async () => {
    const table = Variable.ones([2, 3], { reserveRows: 10, runtime });
    const before = table.data;
    await table.resizeRows(10);
    expect(table.shape).toEqual([10, 3]);
    expect(Object.isFrozen(table.shape)).toBe(true);
    expect([table.size, table.data.length, before.length]).toEqual([30, 30, 6]);
    before[0] = 7;
    expect(table.data[0]).toBe(7);
    expect(table.data.byteOffset).toBe(before.byteOffset);
    await table.resizeRows(11);
    expect(() => table.data).toThrow(SplitVariableError);
  });

  test("further rows go to new segments, and rows never move", async () => {
    const table = Variable.ones([5, 4], { runtime });
    const [first] = table.segments;
    await table.resizeRows(8, { initializer: () => Array.from({ length: 12 }, (_, i) => i) });
    expect(table.segments.map(({ start, data }) => [start, data.length])).toEqual([
      [0, 20],
      [20, 12],
    ]);
    first!.data[19] = 9;
    expect((table.toArray() as number[][]).slice(4)).toEqual([
      [1, 1, 1, 9],
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9, 10, 11],
    ]);
  });

  test("a table that grows row by row has few segments", async () => {
    const table = Variable.zeros([1, 64], { runtime });
    for (let rows = 2; rows <= 20_000; rows += 7) table.resizeRowsSync(rows);
    // Each has at least half of the rows before it, so ln(20,000) / ln(1.5) at most: 24.4.
    expect(table.segments.length).toBeLessThanOrEqual(20);
  });

  test("room that is reserved takes address space, not memory of other tables", () => {
    const own = new Runtime({ threads: 0 });
    const table = Variable.zeros([10, 64], { reserveRows: 1_000_000, runtime: own });
    table.resizeRowsSync(1_000_000);
    expect(table.data.length).toBe(64_000_000);
    expect(table.data[63_999_999]).toBe(0);
  });

  test("growing and shrinking over and over does not make the memory grow", () => {
    const own = new Runtime({ threads: 0, arenaBytes: 2 ** 20 });
    const table = Variable.ones([100, 16], { runtime: own });
    const optimizer = new Adagrad({ ...exact, useEma: true, runtime: own });
    optimizer.build([table]);
    const cycle = () => {
      for (const rows of [3000, 150, 9000, 10, 0, 40, 100]) table.resizeRowsSync(rows);
    };
    for (let i = 0; i < 5; i++) cycle();
    const held = own.memoryBytes;
    for (let i = 0; i < 200; i++) cycle();
    expect(own.memoryBytes).toBe(held);
    expect(table.segments.length).toBeLessThanOrEqual(3);
  });

  test("no rows, rows without elements, vectors", async () => {
    const empty = Variable.ones([0, 4], { runtime });
    await empty.resizeRows(3);
    expect([empty.data.length, ...empty.data]).toEqual([12, ...Array(12).fill(1)]);
    await empty.resizeRows(0);
    expect([empty.shape, empty.toArray(), empty.data.length]).toEqual([[0, 4], [], 0]);
    await empty.resizeRows(1);
    expect(empty.toArray()).toEqual([[1, 1, 1, 1]]);
    const flat = Variable.zeros([3, 0], { runtime });
    const optimizer = new Adagrad({ ...exact, accumulator: "rowwise", useEma: true });
    optimizer.build([flat]);
    for (const rows of [5, 2, 0, 4]) {
      await flat.resizeRows(rows);
      await optimizer.applyGradients([[new Float32Array(0), flat]]);
      expect([flat.shape, optimizer.accumulators[0]!.toArray()]).toEqual([[rows, 0], Array(rows).fill(0)]);
    }
    const vector = new Variable([1, 2], { runtime });
    await vector.resizeRows(3, { initializer: "ones" });
    expect(vector.toArray()).toEqual([1, 2, 1]);
  });
});

describe("what new rows start with", () => {
  test("the variable's initializer; random numbers go on where they ended", async () => {
    const grown = Variable.uniform([3, 5], { seed: 4, min: -1, runtime });
    await grown.resizeRows(10);
    expect(grown.toArray()).toEqual(Variable.uniform([10, 5], { seed: 4, min: -1, runtime }).toArray());
    const shapes: (readonly number[])[] = [];
    const counted = (shape: readonly number[]) => {
      shapes.push(shape);
      return Array.from({ length: shape[0]! }, (_, i) => [i, i]);
    };
    const table = new Variable(counted, { shape: [2, 2], dtype: "float16", runtime });
    await table.resizeRows(5);
    expect(shapes).toEqual([
      [2, 2],
      [3, 2],
    ]);
    expect([...valuesOf(table)]).toEqual([0, 0, 1, 1, 0, 0, 1, 1, 2, 2]);
  });

  test("zeros for a variable made from values, or what the call says", async () => {
    const table = new Variable([[1, 2]], { runtime });
    await table.resizeRows(2);
    await table.resizeRows(3, { initializer: "ones" });
    expect(table.toArray()).toEqual([
      [1, 2],
      [0, 0],
      [1, 1],
    ]);
  });

  test("rows that come again are new, whatever they held", async () => {
    const table = Variable.zeros([6, 2], { runtime });
    const optimizer = new Adagrad({ ...exact, initialAccumulatorValue: 3, useEma: true });
    await optimizer.applyGradients([[new Float32Array(12).fill(1), table]]);
    await table.resizeRows(2);
    await table.resizeRows(6);
    const fresh = Array(8).fill(0);
    expect([...table.data.subarray(4)]).toEqual(fresh);
    expect([...optimizer.accumulators[0]!.data.subarray(4)]).toEqual(Array(8).fill(3));
    expect([...optimizer.averages[0]!.data.subarray(4)]).toEqual(fresh);
    expect([...optimizer.accumulators[0]!.data.subarray(0, 4)]).toEqual(Array(4).fill(4));
  });
});

/** Two slots of its own: one from an initializer, one from values; and one that is no array of rows. */
class Counting extends Optimizer {
  slots: readonly Variable[] = [];

  override build(variables: readonly Variable[]): void {
    if (this.built) return;
    super.build(variables);
    const [variable] = variables as [Variable];
    this.slots = [
      this.addVariableFromReference(variable, "ones", { initialValue: "ones" }),
      this.addVariableFromReference(variable, "values", { initialValue: new Float32Array([5]), shape: [1] }),
      this.addVariableFromReference(variable, "same", {
        initialValue: [
          [5, 5],
          [6, 6],
        ],
      }),
      this.addVariableFromReference(variable, "perRow", {
        initialValue: "ones",
        shape: [variable.shape[0]!],
      }),
    ];
  }

  updateStep(gradient: unknown, { data }: Variable): void {
    const { indices, values } = gradient as { indices: Uint32Array; values: Float32Array };
    indices.forEach((row, k) => {
      data[2 * row]! -= values[2 * k]!;
    });
  }
}

describe("slots follow", () => {
  test("of all optimizers that know the variable, elementwise and row-wise, with averages", async () => {
    const table = Variable.zeros([2, 2], { runtime });
    const options = { ...exact, initialAccumulatorValue: 0.5, useEma: true };
    const optimizers = [
      new Adagrad(options),
      new Adagrad({ ...options, accumulator: "rowwise" }),
      new Adagrad({ ...options, sparseEma: "lazy" }),
    ];
    const step = async (row: number) => {
      for (const optimizer of optimizers) {
        await optimizer.applyGradients([[{ indices: [row], values: [[1, 1]] }, table]]);
      }
    };
    await step(1);
    await table.resizeRows(4, { initializer: "ones" });
    for (const optimizer of optimizers) {
      expect(optimizer.variables.map(({ shape }) => shape[0])).toEqual([4, 4]);
      expect(valuesOf(optimizer.accumulators[0]!).at(-1)).toBe(0.5);
      expect([...valuesOf(optimizer.averages[0]!)].slice(4)).toEqual([1, 1, 1, 1]);
    }
    await step(3);
    for (const optimizer of optimizers) expect(valuesOf(optimizer.accumulators[0]!).at(-1)).toBe(1.5);
    await expect(
      optimizers[0]!.applyGradients([[{ indices: [4], values: [[1, 1]] }, table]]),
    ).rejects.toThrow("integers from 0 to 3");
    optimizers[0]!.finalizeVariableValues([table]);
    expect(table.toArray()).toEqual(optimizers[0]!.averages[0]!.toArray());
    table.assign(Array(4).fill([1, 2]));
    expect((table.toArray() as number[][])[3]).toEqual([1, 2]);
  });

  test("new rows of lazy averages are up to date, old ones are caught up later", async () => {
    const table = Variable.zeros([2, 1], { runtime });
    const optimizer = new Adagrad({ ...exact, useEma: true, emaMomentum: 0.5, sparseEma: "lazy" });
    const touch = (row: number) => optimizer.applyGradients([[{ indices: [row], values: [[-1]] }, table]]);
    await touch(0); // average 0.5, of a row that is 1 now
    await touch(1);
    await table.resizeRows(5, { initializer: () => [8, 8, 8] });
    await touch(1);
    await table.resizeRows(4);
    await table.resizeRows(6, { initializer: () => [16, 16] });
    await touch(1);
    await table.materialize();
    const averages = [...valuesOf(optimizer.averages[0]!)];
    expect([averages[0], ...averages.slice(2)]).toEqual([1 - 2 ** -4, 8, 8, 16, 16]);
  });

  test("new rows of lazy averages have missed none, so their averages are copies to the bit", async () => {
    const table = Variable.uniform([4, 1], { seed: 1, runtime });
    const options = { useEma: true, emaMomentum: 0.9, emaOverwriteFrequency: 2 };
    const optimizer = new Adagrad({ ...exact, ...options, sparseEma: "lazy" });
    const touch = () => optimizer.applyGradients([[{ indices: [0], values: [[-1]] }, table]]);
    for (const rows of [50, 4, 50, 200]) {
      for (let i = 0; i < 5; i++) await touch();
      const before = table.shape[0]!;
      await table.resizeRows(rows);
      const values = valuesOf(table).slice(before);
      await table.materialize();
      expect(valuesOf(table).slice(before)).toEqual(values);
      expect(valuesOf(optimizer.averages[0]!).slice(before)).toEqual(values);
    }
  });

  test("of an optimizer of one's own: with their initializer, or zeros", async () => {
    const table = new Variable(
      [
        [1, 2],
        [3, 4],
      ],
      { reserveRows: 8, runtime },
    );
    const optimizer = new Counting({ runtime });
    optimizer.build([table]);
    await table.resizeRows(3);
    await optimizer.applyGradients([[{ indices: [2], values: [[-9, 0]] }, table]]);
    expect(table.toArray()).toEqual([
      [1, 2],
      [3, 4],
      [9, 0],
    ]);
    expect(optimizer.slots.map((slot) => slot.toArray())).toEqual([
      Array(3).fill([1, 1]),
      [5],
      [
        [5, 5],
        [6, 6],
        [0, 0],
      ],
      [1, 1, 1],
    ]);
  });

  test("slots that are gone do not hinder it", async () => {
    const table = Variable.zeros([2, 2], { runtime });
    const optimizer = new Adagrad({ ...exact, useEma: true });
    optimizer.build([table]);
    const [accumulator] = optimizer.accumulators;
    optimizer.dispose();
    await table.resizeRows(4);
    expect([table.shape, accumulator!.shape]).toEqual([
      [4, 2],
      [2, 2],
    ]);
  });
});

describe("order", () => {
  test("steps called before see the old rows, later ones the new", async () => {
    const table = Variable.zeros([2, 1], { runtime });
    const optimizer = new Adagrad(exact);
    const step = (row: number) => optimizer.applyGradients([[{ indices: [row], values: [[-1]] }, table]]);
    const results = await Promise.allSettled([step(0), step(2), table.resizeRows(3), step(2), step(3)]);
    expect(results.map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "fulfilled",
      "fulfilled",
      "rejected",
    ]);
    expect(table.toArray()).toEqual([[1], [0], [1]]);
  });

  test("resizeRowsSync is refused while steps wait or run", async () => {
    const table = Variable.zeros([2, 1], { runtime });
    const step = new Adagrad(exact).applyGradients([[[[1], [1]], table]]);
    expect(() => table.resizeRowsSync(3)).toThrow(StateError);
    await step;
    table.resizeRowsSync(3);
    expect(table.shape).toEqual([3, 1]);
  });

  test("a large table is filled with turns of the event loop, and shows nothing before", async () => {
    const table = Variable.zeros([10, 1000], { runtime });
    let turns = 0;
    const sizes = new Set<number>();
    const timer = setInterval(() => {
      turns++;
      sizes.add(table.size);
    }, 0);
    await table.resizeRows(20_000, { initializer: "ones" });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(2);
    expect([...sizes]).toEqual([10_000]);
    expect(valuesOf(table)[19_999_999]).toBe(1);
  });
});

describe("refused, and nothing has changed", () => {
  const table = Variable.zeros([3, 2], { name: "table", runtime });
  const optimizer = new Adagrad(exact);
  optimizer.build([table]);
  const disposed = Variable.zeros([1], { runtime });
  disposed.dispose();
  const loose = (value: unknown) => value as never;

  test.each<[string, Variable, unknown, object, new (...args: never[]) => Error]>([
    ["no integer", table, 2.5, {}, ArgumentError],
    ["a negative number", table, -1, {}, ArgumentError],
    ["NaN", table, Number.NaN, {}, ArgumentError],
    ["a string", table, "4", {}, ArgumentError],
    ["nothing", table, undefined, {}, ArgumentError],
    ["more rows than a kernel can name", table, 2 ** 32, {}, ArgumentError],
    ["a scalar", new Variable(1, { runtime }), 1, {}, ShapeError],
    ["a slot", optimizer.accumulators[0]!, 4, {}, ArgumentError],
    ["a variable that is gone", disposed, 4, {}, DisposedVariableError],
    ["an unknown option", table, 4, { init: "ones" }, OptionError],
    ["options that are none", table, 4, loose(null), OptionError],
    ["the initializer instead of options", table, 4, loose("ones"), OptionError],
    ["an initializer by an unknown name", table, 4, { initializer: "twos" }, OptionError],
    ["values for an initializer", table, 4, { initializer: [[1, 2]] }, OptionError],
    ["an initializer of another shape", table, 4, { initializer: () => [1] }, ShapeError],
    ["an initializer that gives bigints", table, 4, { initializer: () => new BigInt64Array(2) }, DtypeError],
    ["an initializer that promises", table, 4, { initializer: async () => thrower() }, ArgumentError],
    ["an initializer that changes the shape", table, 4, { initializer: changer }, ShapeError],
    ["an initializer that throws", table, 4, { initializer: () => thrower() }, RangeError],
  ])("%s", async (_, variable, rows, options, error) => {
    const before = variable.shape;
    expect(await thrownBy(() => variable.resizeRows(loose(rows), options))).toBeInstanceOf(error);
    expect(() => variable.resizeRowsSync(loose(rows), options)).toThrow(error);
    expect(variable.shape).toBe(before);
    expect(optimizer.accumulators[0]!.shape).toEqual([3, 2]);
    expect(runtime.pending).toBe(0);
  });

  test.each([-1, 1.5, "3", Number.NaN, Infinity])("reserveRows: %s", (reserveRows) => {
    expect(() => Variable.zeros([1], { reserveRows: loose(reserveRows), runtime })).toThrow(OptionError);
  });

  test("reserveRows of a scalar", () => {
    expect(() => new Variable(1, { reserveRows: 1, runtime })).toThrow(OptionError);
  });
});

function changer(shape: number[]): Float32Array {
  shape[0] = 5;
  return new Float32Array(10);
}

function thrower(): never {
  throw new RangeError("no values today");
}
