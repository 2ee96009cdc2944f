import {
  Adagrad,
  ArgumentError,
  DisposedVariableError,
  DtypeError,
  DuplicateVariableError,
  IndexError,
  NoGradientsError,
  OptionError,
  PiecewiseConstantDecay,
  Runtime,
  ShapeError,
  type ShardgradError,
  UnknownVariableError,
  Variable,
} from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { thrownBy } from "../support/outcome.js";
import { expectSameState, stateOf } from "../support/state.js";

/**
 * A step with bad input is refused with a typed error that names what is wrong, and changes nothing: not the
 * variables, slots or iterations, nor the rate (a schedule is in use, so that a step would change it).
 */

type ErrorClass = new (...args: never[]) => ShardgradError;
type Pairs = readonly (readonly [unknown, unknown])[];

interface Scene {
  readonly vector: Variable; // [4]
  readonly table: Variable; // [3, 2]
  readonly scalar: Variable;
  readonly half: Variable; // [2], float16
  readonly stranger: Variable; // not known to the optimizer once it is built
  readonly runtime: Runtime;
}

const good = Float32Array.of(1, 2, 3, 4);
const slices = (indices: unknown, values: unknown, denseShape?: number[]) => ({
  indices,
  values,
  denseShape,
});
const other = new Runtime({ threads: 0 });
afterAll(() => other.close());

/** Name of the mistake: the class of the error, what its message must name, and the pairs. */
const mistakes: Record<string, readonly [ErrorClass, string, (scene: Scene) => Pairs]> = {
  "too few elements": [ShapeError, "vector", ({ vector }) => [[Float32Array.of(1, 2, 3), vector]]],
  "too many elements": [ShapeError, "vector", ({ vector }) => [[new Float32Array(5), vector]]],
  "nested arrays of another shape": [
    ShapeError,
    "table",
    ({ table }) => [
      [
        [
          [1, 2, 3],
          [4, 5, 6],
        ],
        table,
      ],
    ],
  ],
  "the right number of elements in another shape": [
    ShapeError,
    "table",
    ({ table }) => [[[1, 2, 3, 4, 5, 6], table]],
  ],
  "ragged nested arrays": [ShapeError, "table", ({ table }) => [[[[1, 2], [3], [4, 5]], table]]],
  "a number for a vector": [ShapeError, "vector", ({ vector }) => [[1, vector]]],
  "nested arrays with something that is no number": [
    ArgumentError,
    "vector",
    ({ vector }) => [[[1, "2", 3, 4], vector]],
  ],
  "a float64 array for a float32 variable": [
    DtypeError,
    "vector",
    ({ vector }) => [[new Float64Array(4), vector]],
  ],
  "an integer array": [DtypeError, "vector", ({ vector }) => [[new Int32Array(4), vector]]],
  "half bits for a float32 variable": [DtypeError, "vector", ({ vector }) => [[new Uint16Array(4), vector]]],
  "a float32 array for a float16 variable": [DtypeError, "half", ({ half }) => [[new Float32Array(2), half]]],
  "a DataView": [DtypeError, "vector", ({ vector }) => [[new DataView(new ArrayBuffer(16)), vector]]],
  "an array whose buffer was transferred away": [
    ShapeError,
    "vector",
    ({ vector }) => {
      const gone = new Float32Array(4);
      structuredClone(gone.buffer, { transfer: [gone.buffer] });
      return [[gone, vector]];
    },
  ],
  "a string": [ArgumentError, "vector", ({ vector }) => [["1234", vector]]],
  "an object that is no slices": [ArgumentError, "vector", ({ vector }) => [[{ values: [1] }, vector]]],
  "more indices than rows of values": [
    ShapeError,
    "table",
    ({ table }) => [[slices([0, 1], Float32Array.of(1, 2)), table]],
  ],
  "fewer indices than rows of values": [
    ShapeError,
    "table",
    ({ table }) => [
      [
        slices(
          [0],
          [
            [1, 2],
            [3, 4],
          ],
        ),
        table,
      ],
    ],
  ],
  "slices of another width": [ShapeError, "table", ({ table }) => [[slices([0], [[1, 2, 3]]), table]]],
  "slices of another dtype": [
    DtypeError,
    "table",
    ({ table }) => [[slices([0], new Float64Array(2)), table]],
  ],
  "slices of a scalar": [ShapeError, "scalar", ({ scalar }) => [[slices([0], [1]), scalar]]],
  "slices with another dense shape": [
    ShapeError,
    "table",
    ({ table }) => [[slices([0], [[1, 2]], [4, 2]), table]],
  ],
  "an index past the end": [
    IndexError,
    "table",
    ({ table }) => [[slices([0, 3], new Float32Array(4)), table]],
  ],
  "an index past the end in an Int32Array": [
    IndexError,
    "table",
    ({ table }) => [[slices(Int32Array.of(3), new Float32Array(2)), table]],
  ],
  "a negative index": [IndexError, "table", ({ table }) => [[slices([-1], [[1, 2]]), table]]],
  "a negative index in an Int32Array": [
    IndexError,
    "table",
    ({ table }) => [[slices(Int32Array.of(-1), new Float32Array(2)), table]],
  ],
  "a large index in a BigInt64Array": [
    IndexError,
    "table",
    ({ table }) => [[slices(BigInt64Array.of(2n ** 40n), new Float32Array(2)), table]],
  ],
  "a negative index in a BigInt64Array": [
    IndexError,
    "table",
    ({ table }) => [[slices(BigInt64Array.of(-1n), new Float32Array(2)), table]],
  ],
  "an index of 2^32": [IndexError, "table", ({ table }) => [[slices([2 ** 32], [[1, 2]]), table]]],
  "a fractional index": [IndexError, "table", ({ table }) => [[slices([0.5], [[1, 2]]), table]]],
  "an index that is NaN": [IndexError, "table", ({ table }) => [[slices([Number.NaN], [[1, 2]]), table]]],
  "an index that is no number": [ArgumentError, "table", ({ table }) => [[slices(["0"], [[1, 2]]), table]]],
  "indices in a Float32Array": [
    ArgumentError,
    "table",
    ({ table }) => [[slices(Float32Array.of(0), [[1, 2]]), table]],
  ],
  "one bad pair after good ones": [
    IndexError,
    "table",
    ({ vector, table }) => [
      [good, vector],
      [slices([7], [[1, 2]]), table],
    ],
  ],
  "the same variable twice": [
    DuplicateVariableError,
    "vector",
    ({ vector }) => [
      [good, vector],
      [good, vector],
    ],
  ],
  "something that is no variable": [ArgumentError, "ariable", () => [[good, { name: "fake" }]]],
  "a variable of another runtime": [
    ArgumentError,
    "elsewhere",
    () => [[good, new Variable([1, 2, 3, 4], { name: "elsewhere", runtime: other })]],
  ],
  "an empty list": [NoGradientsError, "pairs", () => []],
  "all gradients null": [
    NoGradientsError,
    "No gradients provided for any variable: (['vector', 'table'],)",
    ({ vector, table }) => [
      [null, vector],
      [undefined, table],
    ],
  ],
  "a disposed variable": [
    DisposedVariableError,
    "gone",
    ({ runtime }) => {
      const gone = new Variable([1, 2, 3, 4], { name: "gone", runtime });
      gone.dispose();
      return [[good, gone]];
    },
  ],
};

function sceneOf(runtime: Runtime): Scene {
  const make = (
    name: string,
    values: number | number[] | number[][],
    dtype: "float32" | "float16" = "float32",
  ) => new Variable(values, { name, dtype, runtime });
  return {
    vector: make("vector", [1, 2, 3, 4]),

    table: make("table", [
      [1, 2],
      [3, 4],
      [5, 6],
    ]),
    scalar: make("scalar", 1),
    half: make("half", [1, 2], "float16"),
    stranger: make("stranger", [1, 2, 3, 4]),
    runtime,
  };
}

function goodPairs({ vector, table, scalar, half }: Scene): [never, Variable][] {
  return [
    [good as never, vector],
    [
      slices(
        [2, 2],
        [
          [1, 2],
          [3, 4],
        ],
      ) as never,
      table,
    ],
    [0.5 as never, scalar],
    [[1, 1] as never, half],
  ];
}

describe.each([
  ["inline", { threads: 0 }],
  ["2 threads", { threads: 2, inlineThreshold: 0 }],
])("%s", (_, runtimeOptions) => {
  const runtime = new Runtime(runtimeOptions);
  afterAll(() => runtime.close());

  async function prepare(steps: number): Promise<{ scene: Scene; optimizer: Adagrad }> {
    const scene = sceneOf(runtime);
    const values = [0.9, 0.7, 0.5, 0.3];
    const learningRate = new PiecewiseConstantDecay({ boundaries: [0, 1, 2], values });
    const options = { learningRate, useEma: true, emaOverwriteFrequency: 1, globalClipnorm: 1, runtime };
    const optimizer = new Adagrad(options);
    // float16 and float32 cannot share a global norm: TensorFlow refuses them, and so do we.
    const pairs = goodPairs(scene).slice(0, 3);
    for (let s = 0; s < steps; s++) await optimizer.applyGradients(pairs);
    return { scene, optimizer };
  }

  for (const steps of [0, 2]) {
    describe(steps === 0 ? "before the first step" : "after two steps", () => {
      test.each(Object.entries(mistakes))("%s", async (_, [errorClass, named, pairsOf]) => {
        const { scene, optimizer } = await prepare(steps);
        const pairs = pairsOf(scene) as [never, Variable][];
        const all = [scene.vector, scene.table, scene.scalar, scene.half];
        const before = stateOf(optimizer, all);
        const events: string[] = [];
        for (const event of ["build", "iteration", "emaOverwrite"] as const) {
          optimizer.on(event, () => events.push(event));
        }
        for (const action of [
          () => optimizer.applyGradients(pairs),
          () => optimizer.applyGradients(pairs, { skipGradientsAggregation: true }),
          () => optimizer.applyGradientsSync(pairs),
        ]) {
          const error = await thrownBy(action);
          expect(error).toBeInstanceOf(errorClass);
          expect(error).toBeInstanceOf(ArgumentError);
          const { message, argument, code } = error as ArgumentError;
          expect(message).toContain(named);
          expect(argument).toBeTypeOf("string");
          expect(argument).not.toBe("");
          expect(code).toMatch(/^ERR_SHARDGRAD_/);
          expectSameState(stateOf(optimizer, all), before);
        }
        expect(events).toEqual([]);
        await optimizer.applyGradients(goodPairs(scene).slice(0, 3)); // and it still works
        expect(optimizer.iterations).toBe(steps + 1);
      });
    });
  }

  test("a variable that the optimizer was not built with", async () => {
    const { scene, optimizer } = await prepare(2);
    const { vector, table, stranger } = scene;
    const before = stateOf(optimizer, [vector, table, stranger]);
    const pairs = [
      [good, vector],
      [good, stranger],
    ] as const;
    for (const action of [() => optimizer.applyGradients(pairs), () => optimizer.applyGradientsSync(pairs)]) {
      const error = await thrownBy(action);
      expect(error).toBeInstanceOf(UnknownVariableError);
      expect((error as Error).message).toContain("cannot recognize variable stranger.");
      expectSameState(stateOf(optimizer, [vector, table, stranger]), before);
    }
  });

  test("a variable disposed after the optimizer was built", async () => {
    const { scene, optimizer } = await prepare(2);
    const { vector, table } = scene;
    table.dispose();
    const before = stateOf(optimizer, [vector]);
    const error = await thrownBy(() => optimizer.applyGradients(goodPairs(scene).slice(0, 3)));
    expect(error).toBeInstanceOf(DisposedVariableError);
    expectSameState(stateOf(optimizer, [vector]), before);
    await optimizer.applyGradients([[good, vector]]);
  });

  test("what is no list of pairs", async () => {
    const { scene, optimizer } = await prepare(1);
    const before = stateOf(optimizer, [scene.vector]);
    for (const wrong of [undefined, null, 5, {}, [good], [[good]], [null], "ab"]) {
      expect(await thrownBy(() => optimizer.applyGradients(wrong as never))).toBeInstanceOf(ArgumentError);
      expect(await thrownBy(() => optimizer.applyGradientsSync(wrong as never))).toBeInstanceOf(
        ArgumentError,
      );
    }
    expectSameState(stateOf(optimizer, [scene.vector]), before);
  });

  test("an iterator that throws", async () => {
    const { scene, optimizer } = await prepare(1);
    const before = stateOf(optimizer, [scene.vector]);
    const failure = new Error("from the iterator");
    const pairs = (function* () {
      yield [good, scene.vector] as const;
      throw failure;
    })();
    expect(await thrownBy(() => optimizer.applyGradients(pairs))).toBe(failure);
    expectSameState(stateOf(optimizer, [scene.vector]), before);
  });

  test("a schedule that throws or gives no number", async () => {
    const { scene } = await prepare(0);
    for (const rate of [Number.NaN, "0.1", undefined]) {
      const schedule = new PiecewiseConstantDecay({ boundaries: [0], values: [0.5, 0.25] });
      const optimizer = new Adagrad({ learningRate: schedule, runtime });
      await optimizer.applyGradients([[good, scene.vector]]);
      const before = stateOf(optimizer, [scene.vector]);
      schedule.call = () => rate as number;
      const error = await thrownBy(() => optimizer.applyGradients([[good, scene.vector]]));
      expect(error).toBeInstanceOf(OptionError);
      expectSameState(stateOf(optimizer, [scene.vector]), before);
      const failure = new Error("from the schedule");
      schedule.call = () => {
        throw failure;
      };
      expect(await thrownBy(() => optimizer.applyGradients([[good, scene.vector]]))).toBe(failure);
      expectSameState(stateOf(optimizer, [scene.vector]), before);
    }
  });

  test("an aggregator that throws or returns nonsense", async () => {
    const { scene } = await prepare(0);
    const failure = new Error("from the aggregator");
    const aggregator = { aggregateGradients: (pairs: never) => pairs };
    const optimizer = new Adagrad({ runtime, aggregator });
    await optimizer.applyGradients([[good, scene.vector]]);
    const before = stateOf(optimizer, [scene.vector]);
    aggregator.aggregateGradients = () => {
      throw failure;
    };
    expect(await thrownBy(() => optimizer.applyGradients([[good, scene.vector]]))).toBe(failure);
    aggregator.aggregateGradients = () => 5 as never;
    const error = await thrownBy(() => optimizer.applyGradients([[good, scene.vector]]));
    expect(error).toBeInstanceOf(ArgumentError);
    expectSameState(stateOf(optimizer, [scene.vector]), before);
  });

  test("mixed dtypes under a global norm, which TensorFlow cannot take either", async () => {
    const { scene, optimizer } = await prepare(0);
    const before = stateOf(optimizer, [scene.vector, scene.half]);
    const error = await thrownBy(() =>
      optimizer.applyGradients([
        [good, scene.vector],
        [[1, 1], scene.half],
      ]),
    );
    expect(error).toBeInstanceOf(ArgumentError);
    expectSameState(stateOf(optimizer, [scene.vector, scene.half]), before);
  });
});
