import { Adagrad, Runtime, SplitVariableError, Variable } from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { numberToHalf } from "../support/half.js";
import { valuesOf } from "../support/state.js";

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

describe("constructor", () => {
  test("a number is a scalar", () => {
    const v = new Variable(2.5, { runtime });
    expect([v.shape, v.dtype, v.size, v.toArray()]).toEqual([[], "float32", 1, 2.5]);
  });

  test("nested arrays bring their shape", () => {
    const v = new Variable(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { runtime },
    );
    expect([v.shape, v.dtype, v.size]).toEqual([[2, 3], "float32", 6]);
    expect(v.toArray()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
  });

  test("a typed array brings its dtype", () => {
    expect(new Variable(new Float32Array(2), { runtime }).dtype).toBe("float32");
    expect(new Variable(new Float64Array(2), { runtime }).dtype).toBe("float64");
    const half = new Variable(Uint16Array.of(0x3c00, 0xc000), { runtime, dtype: "float16" });
    expect([half.dtype, half.toArray()]).toEqual(["float16", [1, -2]]);
  });

  test("a shape can be given to flat values", () => {
    const v = new Variable([1, 2, 3, 4], { shape: [2, 2], runtime });
    expect(v.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  test("the array it was made from stays its owner's", () => {
    const values = Float32Array.of(1, 2);
    const v = new Variable(values, { runtime });
    values[0] = 9;
    expect(v.toArray()).toEqual([1, 2]);
  });

  test("dtypes round", () => {
    expect(new Variable([0.1], { runtime }).toArray()).toEqual([Math.fround(0.1)]);
    expect(new Variable([0.1], { dtype: "float64", runtime }).toArray()).toEqual([0.1]);
    expect([...new Variable([0.1], { dtype: "float16", runtime }).data]).toEqual([numberToHalf(0.1)]);
  });

  test("names and trainable", () => {
    expect(new Variable(0, { runtime })).toMatchObject({ name: "Variable", trainable: true });
    expect(new Variable(0, { name: "w", trainable: false, runtime })).toMatchObject({
      name: "w",
      trainable: false,
    });
  });

  test("the default runtime is shared", () => {
    expect(Runtime.default()).toBe(Runtime.default());
    const v = new Variable([1]);
    expect(v.data.buffer).toBeInstanceOf(SharedArrayBuffer);
    v.dispose();
  });
});

describe("initializers", () => {
  test("what a function gives for float16 is bits in a Uint16Array, as with values, and numbers otherwise", () => {
    const bits = Uint16Array.of(numberToHalf(1.5), 0x7e01);
    const v = new Variable(() => bits, { shape: [2], dtype: "float16", runtime });
    expect([...v.data]).toEqual([...bits]);
    const numbers = new Variable(() => Float64Array.of(1.5, 2), { shape: [2], dtype: "float16", runtime });
    expect(numbers.toArray()).toEqual([1.5, 2]);
    expect(new Variable(() => Uint16Array.of(3), { shape: [1], runtime }).toArray()).toEqual([3]);
  });

  test("zeros, ones and functions", () => {
    expect(Variable.zeros([2], { runtime }).toArray()).toEqual([0, 0]);
    expect(Variable.ones([2], { dtype: "float16", runtime }).toArray()).toEqual([1, 1]);
    expect(new Variable("ones", { shape: [1, 2], runtime }).toArray()).toEqual([[1, 1]]);
    const seen: unknown[] = [];
    const initializer = (shape: readonly number[], dtype: string) => {
      seen.push(shape, dtype);
      return [
        [1, 2],
        [3, 4],
      ];
    };
    const v = new Variable(initializer, { shape: [2, 2], dtype: "float64", runtime });
    expect([...valuesOf(v)]).toEqual([1, 2, 3, 4]);
    expect(seen).toEqual([[2, 2], "float64"]);
  });

  test("memory that is used again is zeroed", () => {
    for (let i = 0; i < 5; i++) {
      const v = Variable.zeros([1000], { runtime });
      expect(v.data.every((x) => x === 0)).toBe(true);
      v.data.fill(7);
      v.dispose();
    }
  });

  test("uniform: within its bounds, the same for the same seed", () => {
    const make = (seed: number, min = -3, max = 5) => Variable.uniform([10_000], { min, max, seed, runtime });
    const values = valuesOf(make(1));
    expect(valuesOf(make(1))).toEqual(values);
    expect(valuesOf(make(2))).not.toEqual(values);
    expect(values.every((x) => x >= -3 && x <= 5)).toBe(true);
    const mean = values.reduce((a, b) => a + b) / 10_000;
    expect(Math.abs(mean - 1)).toBeLessThan(0.1); // standard error 0.023
    const unit = valuesOf(Variable.uniform([100], { runtime }));
    expect(unit.every((x) => x >= 0 && x <= 1)).toBe(true);
  });

  test("normal: mean and deviation, the same for the same seed", () => {
    const make = (seed: number) => Variable.normal([10_000], { mean: 2, stddev: 0.5, seed, runtime });
    const values = valuesOf(make(1));
    expect(valuesOf(make(1))).toEqual(values);
    expect(valuesOf(make(2))).not.toEqual(values);
    const mean = values.reduce((a, b) => a + b) / 10_000;
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 10_000);
    expect(Math.abs(mean - 2)).toBeLessThan(0.025); // five standard errors
    expect(Math.abs(deviation - 0.5)).toBeLessThan(0.018);
    const beyond = values.filter((x) => Math.abs(x - 2) > 1).length / 10_000;
    expect(Math.abs(beyond - 0.0455)).toBeLessThan(0.011); // two deviations, as a bell curve has
  });

  test("a seed gives the same numbers whatever the cut into memories", async () => {
    const small = new Runtime({ threads: 0, arenaBytes: 128 * 1024 });
    const options = { seed: 4, min: -1, max: 1 };
    const cut = Variable.uniform([5000, 3], { ...options, runtime: small });
    expect(cut.segments.length).toBeGreaterThan(1);
    expect(valuesOf(cut)).toEqual(valuesOf(Variable.uniform([5000, 3], { ...options, runtime })));
    await small.close();
  });
});

describe("data", () => {
  test("is a live view on shared memory", async () => {
    const v = new Variable([1, 2], { runtime });
    const { data } = v;
    expect(data.buffer).toBeInstanceOf(SharedArrayBuffer);
    data[0] = 5;
    expect(v.toArray()).toEqual([5, 2]);
    const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime });
    await optimizer.applyGradients([[[2, 2], v]]);
    expect([...data]).toEqual([4, 1]); // the step saw it, and the view sees the step
  });

  test("stays live when the memory grows", () => {
    const own = new Runtime({ threads: 0 });
    const v = new Variable([1, 2], { runtime: own });
    const { data } = v;
    const large = Variable.zeros([20_000_000], { runtime: own });
    data[1] = 7;
    expect(v.toArray()).toEqual([1, 7]);
    v.assign([3, 4]);
    expect([...data]).toEqual([3, 4]);
    large.dispose();
  });

  test("of a variable in several memories: segments instead", async () => {
    const small = new Runtime({ threads: 0, arenaBytes: 128 * 1024 });
    const v = new Variable(
      Float32Array.from({ length: 30_000 }, (_, i) => i),
      { shape: [10_000, 3], runtime: small },
    );
    expect(() => v.data).toThrow(SplitVariableError);
    let next = 0;
    for (const { start, data } of v.segments) {
      expect(start).toBe(next);
      expect(start % 3).toBe(0); // between rows
      expect(data[0]).toBe(start);
      next += data.length;
    }
    expect(next).toBe(30_000);
    await small.close();
  });

  test("of one memory: one segment", () => {
    const v = new Variable([1, 2], { runtime });
    expect(v.segments).toEqual([{ start: 0, data: v.data }]);
  });
});

describe("assign and toArray", () => {
  test("take and give nested and typed values", () => {
    const v = Variable.zeros([2, 2], { runtime });
    v.assign([
      [1, 2],
      [3, 4],
    ]);
    expect(v.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    v.assign(Float32Array.of(5, 6, 7, 8));
    expect([...v.data]).toEqual([5, 6, 7, 8]);
    const scalar = new Variable(1, { dtype: "float64", runtime });
    scalar.assign(0.1);
    expect(scalar.toArray()).toBe(0.1);
  });

  test("shape with a zero", () => {
    const v = Variable.zeros([2, 0], { runtime });
    expect([v.size, v.toArray(), v.data.length]).toEqual([0, [[], []], 0]);
  });
});

test("dispose gives the memory back, by name and by symbol", () => {
  const own = new Runtime({ threads: 0 });
  new Variable("zeros", { shape: [1_000_000], runtime: own }).dispose();
  const held = own.memoryBytes;
  for (let i = 0; i < 20; i++) {
    const v = Variable.zeros([1_000_000], { runtime: own });
    if (i % 2 === 0) v.dispose();
    else v[Symbol.dispose]();
    expect(v.disposed).toBe(true);
  }
  expect(own.memoryBytes).toBe(held);
});
