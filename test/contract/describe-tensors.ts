import { Adagrad, InProcessAggregator, Variable } from "@shardgrad/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import type { ReferenceGradient } from "../support/reference.js";
import type { Tfjs } from "../support/tfjs.js";
import { type Form, type StepOptions, Twin } from "../support/twin.js";
import { type DeviceArithmetic, type MakeRuntime, meanTolerance } from "./describe-device.js";

type Tensor = ReturnType<Tfjs["tensor"]>;

/** Sums of squares in another order than the reference's. */
const normTolerance = { rtol: 1e-5, atol: 2e-6 };

/** Gradients that are tensors of tfjs, on any device, against the plain reference. */
export function describeTensors(
  name: string,
  makeRuntime: MakeRuntime,
  loadTf: () => Promise<Tfjs>,
  { meansInFloat32 = false }: DeviceArithmetic = {},
): void {
  describe(`${name}, gradients that are tensors`, () => {
    let tf: Tfjs;
    let runtime: ReturnType<MakeRuntime>;
    beforeAll(async () => {
      tf = await loadTf();
      runtime = makeRuntime();
      await runtime.ready();
    });
    afterAll(() => runtime.close());

    /** A result of the back end, as gradients are: on a GPU it is only there. */
    const computed = (values: ArrayLike<number>, shape: readonly number[]) =>
      tf.tidy(() => tf.mul(tf.tensor(Float32Array.from(values), [...shape]), 1));

    /** One step with tensors that are disposed as soon as the call has returned. */
    async function stepWith(
      twin: Twin,
      gradients: readonly (ReferenceGradient | null)[],
      options: StepOptions = {},
    ): Promise<void> {
      const made: Tensor[] = [];
      const keep = (tensor: Tensor) => {
        made.push(tensor);
        return tensor;
      };
      const form: Form = (values, _, shape) => keep(computed(values, shape));
      const rowNumbers = (rows: readonly number[]) => keep(tf.tensor1d([...rows], "int32"));
      const stepped = twin.step(gradients, { form, rowNumbers, ...options });
      tf.dispose(made);
      await stepped;
    }

    const shapes = [[1003], [40, 11], [], [300, 2]];

    function made(options: ConstructorParameters<typeof Twin>[1], seed: number) {
      const random = new Random(seed);
      const twin = new Twin(runtime, { learningRate: 0.1, ...options });
      const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
      for (const shape of shapes) twin.add(shape, random.values(size(shape)));
      const step = (options?: StepOptions): Promise<void> => {
        const rows = random.indices(30, 40, false);
        return stepWith(
          twin,
          [
            { dense: random.values(1003) },
            { indices: rows, values: random.values(30 * 11) },
            { dense: random.values(1) },
            { dense: random.values(600) },
          ],
          options,
        );
      };
      return { twin, step, random };
    }

    const options: Record<string, ConstructorParameters<typeof Twin>[1]> = {
      plain: {},
      "clipped by value, with averages": { clipvalue: 0.5, useEma: true, emaOverwriteFrequency: 2 },
      "slices summed per row": { duplicateIndices: "perRow" },
    };
    test.each(Object.keys(options))("%s: the bits of arrays", async (which) => {
      const { twin, step } = made(options[which], 1);
      for (let s = 0; s < 4; s++) {
        await step();
        twin.expectSame(`step ${s}`);
      }
      twin.dispose();
    });

    test.each([{ clipnorm: 0.5 }, { globalClipnorm: 0.5 }])("%o", async (clip) => {
      const { twin, step } = made(clip, 2);
      for (let s = 0; s < 3; s++) {
        await step();
        twin.expectClose(normTolerance, `step ${s}`);
      }
      twin.dispose();
    });

    test("row-wise accumulators, lazy averages", async () => {
      for (const some of [{ accumulator: "rowwise" }, { useEma: true, sparseEma: "lazy" }] as const) {
        const { twin, step } = made(some, 3);
        for (let s = 0; s < 3; s++) await step();
        for (const average of "sparseEma" in some ? twin.optimizer.averages : []) await average.materialize();
        for (const variable of twin.variables) await variable.materialize();
        await runtime.synchronize();
        if ("accumulator" in some && meansInFloat32) twin.expectClose(meanTolerance);
        else if (!("sparseEma" in some)) twin.expectSame();
        else twin.expectClose({ rtol: 1e-6, atol: 1e-6 });
        twin.dispose();
      }
    });

    test("beside arrays, null gradients, and variables that have no tensors", async () => {
      const { twin, step, random } = made({}, 4);
      await step();
      const form: Form = (values, _, shape) => (shape.length === 2 ? computed(values, shape) : values);
      const rows = [3, 1, 3];
      const before = tf.memory().numTensors;
      const given: Tensor[] = [];
      const mixed: Form = (...which) => {
        const gradient = form(...which);
        if (gradient instanceof tf.Tensor) given.push(gradient);
        return gradient;
      };
      await twin.step(
        [null, { indices: rows, values: random.values(33) }, null, { dense: random.values(600) }],
        { form: mixed, withNull: false },
      );
      twin.expectSame();
      tf.dispose(given);
      expect(tf.memory().numTensors).toBe(before);
      const there = Variable.ones([4], { runtime });
      const here = Variable.ones([4], { dtype: "float64", runtime });
      const gradient = computed([1, 2, 3, 4], [4]);
      const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime });
      for (let s = 0; s < 2; s++) {
        await optimizer.applyGradients([
          [gradient, there],
          [new Float64Array(4).fill(1), here],
        ]);
      }
      expect(Array.from(await there.read())[0]).toBe(Math.fround(0 - Math.fround(Math.SQRT1_2)));
      expect(Array.from(await here.read())[0]).toBe(0 - 1 / Math.sqrt(2));
      gradient.dispose();
      for (const variable of [there, here]) variable.dispose();
      optimizer.dispose();
      twin.dispose();
    });

    test("synchronous steps take them where the back end has `dataSync`", async () => {
      const { twin, step } = made({}, 5);
      await step();
      const sync = step({ mode: "sync" });
      if (tf.getBackend() === "webgpu") {
        await expect(sync).rejects.toThrow(/does not give a tensor's values at once. Use `applyGradients`/);
        await expect(sync).rejects.toMatchObject({ code: "ERR_SHARDGRAD_GRADIENT_READ" });
        expect(twin.optimizer.iterations).toBe(1);
      } else {
        await sync;
        twin.expectSame();
      }
      twin.dispose();
    });

    test("steps in the queue have the tensors of their calls, which are disposed by then", async () => {
      const weights = Variable.ones([64], { runtime });
      const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime });
      // Each is disposed before its step has begun.
      const steps = [1, 2, 3].map((value) => {
        const gradient = computed(Array(64).fill(value), [64]);
        const step = optimizer.applyGradients([[gradient, weights]]);
        gradient.dispose();
        return step;
      });
      await Promise.all(steps);
      let [value, sum] = [1, 0];
      for (const g of [1, 2, 3]) {
        sum += g * g;
        value = Math.fround(value - Math.fround(g / Math.fround(Math.sqrt(sum))));
      }
      expect((await weights.read())[63]).toBe(value);
      weights.dispose();
      optimizer.dispose();
    });

    test("aggregators get arrays, and what they make of them is what the step uses", async () => {
      const seen: unknown[] = [];
      class Halving extends Adagrad {
        override aggregateGradients(pairs: Parameters<Adagrad["aggregateGradients"]>[0]) {
          for (const [gradient] of pairs) {
            seen.push(gradient);
            const array = gradient as Float32Array;
            // In place: the tensor's own values must not change with it.
            for (let i = 0; i < array.length; i++) array[i]! /= 2;
          }
          return pairs;
        }
      }
      const weights = Variable.zeros([3], { runtime });
      const aggregator = new InProcessAggregator({ replicas: 2 });
      const options = { learningRate: 1, initialAccumulatorValue: 12, epsilon: 0, runtime };
      const gradient = computed([4, 4, 4], [3]);
      await new Halving(options).applyGradients([[gradient, weights]]);
      expect(seen).toEqual([expect.any(Float32Array)]);
      expect(Array.from(await gradient.data())).toEqual([4, 4, 4]);
      expect(Array.from(await weights.read())).toEqual([-0.5, -0.5, -0.5]);
      expect(() => aggregator.contribute([[gradient, weights]])).toThrow("`await tensor.data()`");
      aggregator.contribute([[[-2, -2, -2], weights]]);
      await new Adagrad({ ...options, aggregator }).applyGradients([[gradient, weights]]);
      expect(Array.from(await weights.read())).toEqual([-1, -1, -1]);
      gradient.dispose();
      weights.dispose();
    });

    test("1,000 steps leave no tensors behind, nor do those that fail", async () => {
      const { twin, step } = made({}, 6);
      await step();
      await step();
      const weights = twin.variables[0]!;
      const before = tf.memory();
      const wrong = computed([1, 2], [2]);
      const doubled = computed(new Random(1).values(1003), [1003]);
      for (let s = 0; s < 1000; s++) {
        if (s % 10 === 3) {
          await expect(twin.optimizer.applyGradients([[wrong, weights]])).rejects.toThrow("shape [1003]");
        } else if (s % 10 === 6) {
          const twice = twin.optimizer.applyGradients([
            [doubled, weights],
            [doubled, weights],
          ]);
          await expect(twice).rejects.toThrow("twice");
        } else if (s % 10 === 9) {
          const aborted = twin.optimizer.applyGradients([[doubled, weights]], {
            signal: AbortSignal.abort(),
          });
          await expect(aborted).rejects.toThrow("abort");
        } else await twin.optimizer.applyGradients([[doubled, weights]]);
      }
      tf.dispose([wrong, doubled]);
      await new Promise(setImmediate);
      await runtime.synchronize();
      const { numTensors, numDataBuffers } = tf.memory();
      expect({ numTensors, numDataBuffers }).toEqual({
        numTensors: before.numTensors,
        numDataBuffers: before.numDataBuffers,
      });
      twin.dispose();
    });
  });
}
