import {
  Adagrad,
  ArgumentError,
  DtypeError,
  GradientReadError,
  IndexError,
  IndexedSlices,
  NoGradientsError,
  QueueFullError,
  Runtime,
  ShapeError,
  type TensorLike,
  Variable,
} from "@shardgrad/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { gatedTensor } from "../support/gated-tensor.js";
import { stateOf } from "../support/state.js";
import { type Tfjs, tfWith } from "../support/tfjs.js";

describe("gradients that are tensors of tfjs", () => {
  let tf: Tfjs;
  const runtime = new Runtime({ threads: 0, device: "cpu" });
  beforeAll(async () => {
    tf = await tfWith("cpu");
  });
  afterAll(() => runtime.close());

  function model() {
    const weights = new Variable([1, 2, 3, 4, 5, 6], { shape: [2, 3], name: "w", runtime });
    const table = Variable.ones([5, 2], { name: "table", runtime });
    const double = Variable.ones([2], { name: "double", dtype: "float64", runtime });
    const optimizer = new Adagrad({ runtime });
    optimizer.build([weights, table, double]);
    return { weights, table, double, optimizer, variables: [weights, table, double] };
  }
  type Model = ReturnType<typeof model>;
  type Pairs = Parameters<Adagrad["applyGradients"]>[0];

  const refused: Record<string, [given: (of: Model) => Pairs, error: unknown, message: string]> = {
    "another shape of the same size": [
      ({ weights }) => [[tf.ones([3, 2]), weights]],
      ShapeError,
      "`gradient of w`: expected shape [2, 3], not [3, 2], got Tensor",
    ],
    "another dtype": [
      ({ weights }) => [[tf.ones([2, 3], "int32"), weights]],
      DtypeError,
      "`gradient of w`: expected a tensor of dtype float32, got one of int32",
    ],
    "for a float64 variable": [
      ({ double }) => [[tf.ones([2]), double]],
      DtypeError,
      "`gradient of double`: expected values of dtype float64, the variable's: tensors have float32 at most, got Tensor",
    ],
    "one that was disposed": [
      ({ weights }) => {
        const gone = tf.ones([2, 3]);
        gone.dispose();
        return [[gone, weights]];
      },
      ArgumentError,
      "`gradient of w`: the tensor was disposed.",
    ],
    "the second one that was disposed": [
      ({ weights, table }) => {
        const gone = tf.ones([5, 2]);
        gone.dispose();
        return [
          [tf.ones([2, 3]), weights],
          [gone, table],
        ];
      },
      ArgumentError,
      "`gradient of table`: the tensor was disposed.",
    ],
    "values of slices of another shape": [
      ({ table }) => [[{ indices: [1, 2], values: tf.ones([2, 3]) }, table]],
      ShapeError,
      "`values of the gradient of table`: expected shape [2, 2], not [2, 3], got Tensor",
    ],
    "row numbers that are no integers": [
      ({ table }) => [
        [
          {
            indices: tf.ones([2]),
            values: [
              [1, 1],
              [1, 1],
            ],
          },
          table,
        ],
      ],
      DtypeError,
      "`indices of the gradient of table`: expected a tensor of dtype int32, got one of float32",
    ],
    "row numbers in a matrix": [
      ({ table }) => [[{ indices: tf.ones([2, 1], "int32"), values: tf.ones([2, 2]) }, table]],
      ShapeError,
      "`indices of the gradient of table`: expected shape [2], not [2, 1], got Tensor",
    ],
    "a row that there is not": [
      ({ table }) => [[{ indices: tf.tensor1d([1, 5], "int32"), values: tf.ones([2, 2]) }, table]],
      IndexError,
      "`indices of the gradient of table`: expected integers from 0 to 4, got 5 at position 1",
    ],
    "a denseShape that is not the variable's": [
      ({ table }) => [[{ indices: [1], values: tf.ones([1, 2]), denseShape: [6, 2] }, table]],
      ShapeError,
      "denseShape of the gradient of table",
    ],
    "the same variable twice": [
      ({ weights }) => {
        const pair = [tf.ones([2, 3]), weights] as const;
        return [pair, pair];
      },
      ArgumentError,
      "twice",
    ],
    "values that do not come": [
      ({ weights }) => {
        const { tensor, refuse } = gatedTensor(tf, [1, 2, 3, 4, 5, 6], [2, 3]);
        refuse(new Error("context lost"));
        return [[tensor, weights]];
      },
      GradientReadError,
      "`gradient of w`: the values could not be read from the tensor. Nothing of the step was applied; compute the",
    ],
    "something that is nearly a tensor": [
      ({ weights }) => [[{ ...tf.ones([2, 3]), data: undefined } as never, weights]],
      ArgumentError,
      "`gradient of w`: expected a typed array, nested arrays or indexed slices, got Object",
    ],
    "no gradient at all": [({ weights }) => [[null, weights]], NoGradientsError, "No gradients provided"],
  };

  describe.each(["applyGradients", "applyGradientsSync"] as const)(
    "%s refuses, with nothing changed",
    (call) => {
      const cases = Object.keys(refused).filter(
        // Only the other reads later.
        (what) => call === "applyGradients" || what !== "values that do not come",
      );
      test.each(cases)("%s", async (what) => {
        const of = model();
        const [given, error, message] = refused[what]!;
        const before = stateOf(of.optimizer, of.variables);
        tf.engine().startScope();
        const pairs = given(of);
        const { numTensors } = tf.memory();
        const apply = async () => of.optimizer[call](pairs);
        const thrown = await apply().then(
          () => undefined,
          (reason) => reason,
        );
        await new Promise(setImmediate);
        expect(tf.memory().numTensors, "none is held").toBe(numTensors);
        tf.engine().endScope();
        expect(thrown).toBeInstanceOf(error);
        expect((thrown as Error).message).toContain(message);
        expect(stateOf(of.optimizer, of.variables)).toEqual(before);
      });
    },
  );

  test("a step in a full queue, or aborted while it waits, holds none", async () => {
    const own = new Runtime({ threads: 0, device: "cpu", maxQueue: 1 });
    const weights = Variable.ones([2], { runtime: own });
    const optimizer = new Adagrad({ runtime: own });
    const gradient = tf.tensor1d([1, 2]);
    const before = tf.memory().numTensors;
    const abort = new AbortController();
    const steps = [
      optimizer.applyGradients([[gradient, weights]]),
      optimizer.applyGradients([[gradient, weights]], { signal: abort.signal }),
      optimizer.applyGradients([[gradient, weights]]),
    ];
    expect(tf.memory().numTensors).toBeGreaterThan(before);
    abort.abort();
    const ends = await Promise.allSettled(steps);
    expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
    expect((ends[2] as PromiseRejectedResult).reason).toBeInstanceOf(QueueFullError);
    await new Promise(setImmediate);
    expect(tf.memory().numTensors).toBe(before);
    expect(optimizer.iterations).toBe(1);
    gradient.dispose();
    await own.close();
  });

  test("called within `tidy`, the step keeps what it needs; what it holds is not left behind", async () => {
    const { weights, optimizer } = model();
    const before = tf.memory().numTensors;
    let step: Promise<void> | undefined;
    tf.tidy(() => {
      step = optimizer.applyGradients([[tf.mul(tf.ones([2, 3]), 2), weights]]);
    });
    expect(tf.memory().numTensors).toBe(before + 1);
    await step;
    expect(tf.memory().numTensors).toBe(before);
    expect(weights.data[0]).toBeLessThan(1);
  });

  test("the tensor's values are left as they are", async () => {
    const { weights, optimizer } = model();
    const gradient = tf.tensor2d([1, -2, 3, -4, 5, -6], [2, 3]);
    const clipping = new Adagrad({ clipvalue: 1, runtime });
    await optimizer.applyGradients([[gradient, weights]]);
    await clipping.applyGradients([[gradient, weights]]);
    clipping.applyGradientsSync([[gradient, weights]]);
    expect(Array.from(gradient.dataSync())).toEqual([1, -2, 3, -4, 5, -6]);
    gradient.dispose();
  });

  test("a step that waits takes a table as it is then: rows may have come", async () => {
    const { table, optimizer } = model();
    const resized = table.resizeRows(7);
    const gradient = tf.ones([7, 2]);
    const step = optimizer.applyGradients([[gradient, table]]);
    gradient.dispose();
    await Promise.all([resized, step]);
    expect(optimizer.iterations).toBe(1);
    expect(table.segments.at(-1)!.data[3]).toBeLessThan(1);
  });

  test("IndexedSlices of tensors", async () => {
    const { table, optimizer } = model();
    const [indices, values] = [tf.tensor1d([4, 1], "int32"), tf.ones([2, 2])];
    const slices = new IndexedSlices({ indices, values, denseShape: [5, 2] });
    await optimizer.applyGradients([[slices, table]]);
    expect(Array.from(table.data, (value) => value < 1)).toEqual([0, 0, 1, 1, 0, 0, 0, 0, 1, 1].map(Boolean));
    expect(() => new IndexedSlices({ indices: [1], values })).toThrow("1 rows, one for each index");
    tf.dispose([indices, values]);
  });

  test("minimize, with and without a tape", async () => {
    const { weights, optimizer } = model();
    const gradient = tf.ones([2, 3]);
    const loss = async () => ({ loss: 7, gradients: [gradient] });
    expect(await optimizer.minimize(loss, [weights])).toBe(7);
    const tape = { watch() {}, gradient: () => [gradient] };
    const [pair] = optimizer.computeGradients(() => 7, [weights], tape);
    expect(pair![0]).toBe(gradient);
    expect(await optimizer.minimize(() => 7, [weights], tape)).toBe(7);
    expect(optimizer.iterations).toBe(2);
    gradient.dispose();
  });

  test("the update of a single variable takes arrays only", () => {
    const { weights, optimizer } = model();
    const gradient = tf.ones([2, 3]);
    expect(() => optimizer.updateStep(gradient, weights)).toThrow("only steps take tensors");
    gradient.dispose();
  });

  test("any object with a tensor's properties will do; values that are not as many are refused", async () => {
    const { weights, optimizer } = model();
    const standIn = (values: ArrayLike<number>): TensorLike => ({
      shape: [2, 3],
      dtype: "float32",
      isDisposed: false,
      kept: false,
      clone: () => standIn(values),
      data: async () => values,
      dataSync: () => values,
      dispose: () => {},
    });
    await optimizer.applyGradients([[standIn([1, 1, 1, 1, 1, 1]), weights]]);
    expect(optimizer.iterations).toBe(1);
    const short = optimizer.applyGradients([[standIn([1]), weights]]);
    await expect(short).rejects.toThrow(GradientReadError);
    await expect(short).rejects.toMatchObject({ cause: { message: "1 values came of a tensor of 6." } });
    expect(() => optimizer.applyGradientsSync([[standIn([1]), weights]])).toThrow(GradientReadError);
  });
});
