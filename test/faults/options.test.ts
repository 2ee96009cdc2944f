import {
  Adagrad,
  ArgumentError,
  ClosedRuntimeError,
  DisposedVariableError,
  DtypeError,
  IndexedSlices,
  InProcessAggregator,
  OptionError,
  Runtime,
  ShapeError,
  ShardgradError,
  StateError,
  Variable,
} from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { thrownBy } from "../support/outcome.js";
import { expectSameState, stateOf, valuesOf } from "../support/state.js";

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

/** Fails unless the action throws an OptionError about this argument. */
async function expectOptionError(action: () => unknown, argument: string): Promise<void> {
  const error = await thrownBy(action);
  expect(error).toBeInstanceOf(OptionError);
  expect((error as OptionError).argument).toBe(argument);
  expect((error as OptionError).message).toMatch(new RegExp(`${argument}|${snake(argument)}`));
}

const snake = (key: string) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

describe("options of Adagrad", () => {
  test.each([
    ["learningRate", Number.NaN],
    ["learningRate", null],
    ["learningRate", "0.1"],
    ["learningRate", {}],
    ["initialAccumulatorValue", Number.NaN],
    ["initialAccumulatorValue", -1e-3],
    ["initialAccumulatorValue", "0.1"],
    ["epsilon", Number.NaN],
    ["epsilon", -1e-9],
    ["epsilon", null],
    ["clipnorm", Number.NaN],
    ["clipnorm", "1"],
    ["clipvalue", Number.NaN],
    ["globalClipnorm", Number.NaN],
    ["emaMomentum", Number.NaN],
    ["emaMomentum", 1.01],
    ["emaMomentum", -0.01],
    ["emaOverwriteFrequency", 1.5],
    ["emaOverwriteFrequency", -1],
    ["emaOverwriteFrequency", Number.NaN],
    ["duplicateIndices", "perElement"],
    ["useEma", "yes"],
    ["name", 5],
    ["runtime", {}],
    ["aggregator", {}],
    ["learningrate", 0.1],
    ["foo", 1],
  ])("%s: %s", (key, value) => {
    const options = key.startsWith("ema") ? { useEma: true } : {};
    return expectOptionError(() => new Adagrad({ runtime, ...options, [key]: value } as never), key);
  });

  test("undefined means the default", () => {
    const options = { learningRate: undefined, epsilon: undefined, clipnorm: undefined, name: undefined };
    expect(new Adagrad({ ...options, runtime } as never).getConfig()).toEqual(
      new Adagrad({ runtime }).getConfig(),
    );
  });

  test("zero and negative rates, zero epsilon and zero accumulator are allowed", () => {
    for (const learningRate of [0, -0.1]) {
      expect(new Adagrad({ learningRate, runtime }).learningRate).toBe(Math.fround(learningRate));
    }
    new Adagrad({ epsilon: 0, initialAccumulatorValue: 0, runtime });
  });

  test("options that are no object", () => {
    for (const wrong of [5, "lr", null]) expect(() => new Adagrad(wrong as never)).toThrow(ShardgradError);
  });
});

describe("settings of a built optimizer", () => {
  async function built(): Promise<{ optimizer: Adagrad; w: Variable }> {
    const w = new Variable([1, 2], { runtime });
    const optimizer = new Adagrad({ useEma: true, runtime });
    await optimizer.applyGradients([[[1, 1], w]]);
    return { optimizer, w };
  }

  test.each([Number.NaN, "0.1", null, undefined, {}])("learningRate = %s is refused", async (value) => {
    const { optimizer, w } = await built();
    const before = stateOf(optimizer, [w]);
    await expectOptionError(() => {
      optimizer.learningRate = value as never;
    }, "learningRate");
    expectSameState(stateOf(optimizer, [w]), before);
  });

  test.each([-1, 0.5, Number.NaN, "3", 2 ** 53])("iterations = %s is refused before build", async (value) => {
    const optimizer = new Adagrad({ runtime });
    expect(await thrownBy(() => Object.assign(optimizer, { iterations: value }))).toBeInstanceOf(
      ArgumentError,
    );
    expect(optimizer.iterations).toBe(0);
  });

  test("iterations after build are refused", async () => {
    const { optimizer, w } = await built();
    const before = stateOf(optimizer, [w]);
    expect(await thrownBy(() => Object.assign(optimizer, { iterations: 3 }))).toBeInstanceOf(StateError);
    expectSameState(stateOf(optimizer, [w]), before);
  });

  test("a list to finalize that does not fit is refused", async () => {
    const { optimizer, w } = await built();
    const stranger = new Variable([5, 5], { name: "stranger", runtime });
    const before = stateOf(optimizer, [w, stranger]);
    for (const list of [[], [w, w], [w, stranger], [stranger], 5, [5]]) {
      expect(await thrownBy(() => optimizer.finalizeVariableValues(list as never))).toBeInstanceOf(
        ArgumentError,
      );
      expectSameState(stateOf(optimizer, [w, stranger]), before);
    }
    const unbuilt = new Adagrad({ useEma: true, runtime });
    expect(await thrownBy(() => unbuilt.finalizeVariableValues([w]))).toBeInstanceOf(StateError);
  });
});

describe("options of Runtime", () => {
  test.each([
    ["threads", -1],
    ["threads", 1.5],
    ["threads", Number.NaN],
    ["threads", "2"],
    ["kernels", "simd"],
    ["inlineThreshold", -1],
    ["inlineThreshold", Number.NaN],
    ["maxQueue", -1],
    ["maxQueue", 0.5],
    ["arenaBytes", 0],
    ["arenaBytes", Number.NaN],
    ["device", "tpu"],
    ["workers", 2],
  ])("%s: %s", (key, value) => expectOptionError(() => new Runtime({ [key]: value }), key));

  test("allocate and release", () => {
    const own = new Runtime({ threads: 0 });
    for (const shape of [-1, 1.5, Number.NaN, [2, -1], "3"]) {
      expect(() => own.allocate(shape as never)).toThrow(ShapeError);
    }
    expect(() => own.allocate(4, "int8" as never)).toThrow(DtypeError);
    const array = own.allocate(4);
    own.release(array);
    for (const wrong of [array, new Float32Array(4), null]) {
      expect(() => own.release(wrong as never)).toThrow(ArgumentError);
    }
  });
});

describe("arguments of Variable", () => {
  test.each([
    ["ragged values", [[1, 2], [3]], {}, ShapeError],
    ["values that are no numbers", ["a"], {}, ArgumentError],
    ["a value that is none", undefined, {}, ArgumentError],
    ["values of another size than the shape", [1, 2, 3], { shape: [2] }, ShapeError],
    ["a negative dimension", "zeros", { shape: [-1] }, ShapeError],
    ["a fractional dimension", "zeros", { shape: [1.5] }, ShapeError],
    ["an initializer without a shape", "zeros", {}, ShapeError],
    ["an unknown initializer", "twos", { shape: [1] }, OptionError],
    ["an initializer of another size", () => [1, 2, 3], { shape: [2] }, ShapeError],
    ["an unknown dtype", [1], { dtype: "int32" }, DtypeError],
    ["a typed array of another dtype", new Float64Array(2), { dtype: "float32" }, DtypeError],
    ["a typed array that holds no dtype", new Int32Array(2), {}, DtypeError],
    ["an unknown option", [1], { foo: 1 }, OptionError],
    ["a runtime that is none", [1], { runtime: {} }, OptionError],
  ])("%s", async (_, value, options, errorClass) => {
    const held = runtime.memoryBytes;
    const error = await thrownBy(() => new Variable(value as never, { runtime, ...options } as never));
    expect(error).toBeInstanceOf(errorClass);
    expect(runtime.memoryBytes).toBe(held);
  });

  test("an initializer that throws", async () => {
    const failure = new Error("from the initializer");
    const make = () => {
      throw failure;
    };
    expect(await thrownBy(() => new Variable(make, { shape: [2], runtime }))).toBe(failure);
  });

  test("uniform and normal", () => {
    expect(() => Variable.uniform([2], { min: 1, max: 0, runtime })).toThrow(OptionError);
    expect(() => Variable.uniform([2], { max: Number.NaN, runtime })).toThrow(OptionError);
    expect(() => Variable.normal([2], { stddev: Number.NaN, runtime })).toThrow(OptionError);
    expect(() => Variable.normal([2], { stddev: -1, runtime })).toThrow(OptionError);
    expect(() => Variable.normal([2], { seed: 0.5, runtime })).toThrow(OptionError);
  });

  test("assign changes nothing when it refuses", async () => {
    const w = new Variable([1, 2, 3], { runtime });
    for (const wrong of [
      [1, 2],
      [[1, 2, 3]],
      5,
      ["a", 2, 3],
      new Float64Array(3),
      new Float32Array(2),
      "zeros",
      null,
    ]) {
      expect(await thrownBy(() => w.assign(wrong as never))).toBeInstanceOf(ArgumentError);
      expect([...valuesOf(w)]).toEqual([1, 2, 3]);
    }
  });

  test("a disposed variable", () => {
    const w = new Variable([1, 2, 3], { name: "w", runtime });
    w.dispose();
    w.dispose();
    expect(w.disposed).toBe(true);
    for (const use of [() => w.data, () => w.segments, () => w.toArray(), () => w.assign([1, 2, 3])]) {
      expect(use).toThrow(DisposedVariableError);
    }
  });
});

test("arguments of IndexedSlices", () => {
  const make = (init: object) => () => new IndexedSlices(init as never);
  expect(make({ indices: "0", values: [[1]] })).toThrow(ArgumentError);
  expect(make({ indices: [0], values: 1 })).toThrow(ArgumentError);
  expect(make({ indices: [0, 1], values: [[1]] })).toThrow(ShapeError);
  expect(make({ indices: [0], values: [[1]], denseShape: [-1] })).toThrow(ShapeError);
});

test("arguments of InProcessAggregator", async () => {
  for (const replicas of [0, 1.5, Number.NaN, "2"]) {
    await expectOptionError(() => new InProcessAggregator({ replicas: replicas as never }), "replicas");
  }
});

describe("a closed runtime", () => {
  test("refuses steps and new memory, and changes nothing", async () => {
    const own = new Runtime({ threads: 1, inlineThreshold: 0 });
    const w = new Variable([1, 2], { runtime: own });
    const optimizer = new Adagrad({ runtime: own });
    await optimizer.applyGradients([[[1, 1], w]]);
    const before = stateOf(optimizer, [w]);
    await own.close();
    expect(own.closed).toBe(true);
    await own.close(); // again: nothing
    for (const use of [
      () => optimizer.applyGradients([[[1, 1], w]]),
      () => optimizer.applyGradientsSync([[[1, 1], w]]),
      () => new Variable([1], { runtime: own }),
      () => own.allocate(3),
      () => own.ready(),
    ]) {
      expect(await thrownBy(use)).toBeInstanceOf(ClosedRuntimeError);
    }
    expectSameState(stateOf(optimizer, [w]), before);
    expect(w.toArray()).toEqual([...before.variables[0]!]); // variables stay readable
  });
});
