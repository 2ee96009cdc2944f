import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnTfjsWebGpu, openTfjsWebGpu } from "../support/on-tfjs-webgpu.js";
import { Random } from "../support/random.js";
import { expectSameBits } from "../support/state.js";
import type { Tfjs } from "../support/tfjs.js";
import { Twin } from "../support/twin.js";

type Tensor = ReturnType<Tfjs["tensor"]>;

describeOnTfjsWebGpu("the device of tfjs-backend-webgpu", () => {
  let tf: Tfjs;
  let runtime: Runtime;
  beforeAll(async () => {
    ({ tf, runtime } = await openTfjsWebGpu());
  });
  afterAll(() => runtime.close());

  const ones = (count: number) => new Float32Array(count).fill(1);

  test("runs this package's kernels there, with the bits of the CPU", async () => {
    expect(runtime.placement().device).toEqual({
      kind: "webgpu",
      description: expect.stringMatching(/\(WebGPU, the device of tfjs 4\.22\.0\)$/),
    });
    const before = tf.memory().numTensors;
    const twin = new Twin(runtime, {
      learningRate: 0.1,
      useEma: true,
      emaOverwriteFrequency: 2,
      clipvalue: 1,
    });
    const random = new Random(1);
    twin.add([20, 3], random.values(60));
    twin.add([5000], random.values(5000));
    for (let s = 0; s < 4; s++) {
      const mode = s % 2 === 0 ? "async" : "sync";
      const slices = { indices: random.indices(9, 20, false), values: random.values(27) };
      await twin.step([slices, { dense: random.values(5000) }], { mode });
      twin.expectSame(`step ${s}`);
    }
    expect(tf.memory().numTensors, "none of its ops are used").toBe(before);
    twin.dispose();
  });

  test("training with tfjs' forward pass over the variables' own memory", async () => {
    const cpu = new Runtime({ device: "cpu", threads: 0 });
    const start = new Random(5).values(6);
    const x = tf.tensor2d(Float32Array.from(new Random(6).values(12)), [4, 3]);
    const target = tf.tensor2d(Float32Array.from(new Random(7).values(8)), [4, 2]);
    // Of the mean of (x w - target)^2.
    const gradientAt = (w: Tensor) =>
      tf.tidy(() => {
        const error = tf.sub(tf.matMul(x, w as never), target);
        return tf.mul(tf.matMul(x, error as never, true), 2 / 8);
      });
    const shape = [3, 2];
    const weights = new Variable(Float32Array.from(start), { shape, runtime });
    const twin = new Variable(Float32Array.from(start), { shape, runtime: cpu });
    const here = new Adagrad({ learningRate: 0.5, runtime });
    const there = new Adagrad({ learningRate: 0.5, runtime: cpu });
    // Before the first step, and once for all of them.
    const w = await weights.tensor<Tensor>();
    expect(w.shape).toEqual(shape);
    for (let s = 0; s < 5; s++) {
      const computed = gradientAt(w);
      const gradient = (await computed.data()) as Float32Array;
      computed.dispose();
      await here.applyGradients([[gradient, weights]]);
      await there.applyGradients([[gradient, twin]]);
      expect(await w.data(), "what it read before is not kept").toEqual(twin.data);
    }
    expect(await weights.read()).toEqual(twin.data);
    for (const tensor of [w, x, target]) tensor.dispose();
    await cpu.close();
  });

  test("what tfjs was told to compute before a step sees the values before it", async () => {
    const weights = Variable.ones([8], { runtime });
    const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 1e-30, runtime });
    const w = await weights.tensor<Tensor>();
    // Its slots come with it: from here on synchronous steps run there, too.
    await optimizer.applyGradients([[new Float32Array(8), weights]]);
    // Recorded, and not submitted by tfjs: it waits for more, or for somebody who reads.
    const before = tf.mul(w, 2);
    optimizer.applyGradientsSync([[ones(8), weights]]);
    const between = tf.add(w, 5);
    await optimizer.applyGradients([[ones(8), weights]]);
    const after = tf.add(w, 5);
    expect(Array.from(await before.data())).toEqual(Array(8).fill(2));
    expect(Array.from(await between.data())).toEqual(Array(8).fill(5));
    expect(Array.from(await after.data())).toEqual(Array(8).fill(Math.fround(5 - Math.SQRT1_2)));
    tf.dispose([w, before, between, after]);
  });

  test.each([1, 3, 4, 63, 65, 1 << 19])(
    "of any size, also beside others in their buffers: %i",
    async (size) => {
      const random = new Random(size);
      const twin = new Twin(runtime, { learningRate: 0.1, useEma: true });
      for (const length of [7, size, 9]) twin.add([length], random.values(length));
      const step = () => twin.step([7, size, 9].map((length) => ({ dense: random.values(length) })));
      await step();
      const variables = [twin.variables[1]!, twin.optimizer.averages[1]!, twin.optimizer.accumulators[1]!];
      const tensors: Tensor[] = [];
      for (const variable of variables) tensors.push(await variable.tensor<Tensor>());
      for (let s = 0; s < 2; s++) {
        await step();
        twin.expectSame();
        for (const [i, tensor] of tensors.entries()) {
          expect(tensor.shape).toEqual([size]);
          const values = await tensor.data();
          expect(values).toHaveLength(size);
          expectSameBits(values as Float32Array, variables[i]!.data, `${i}`);
          // Reshaped, it is the same memory.
          const column = tf.reshape(tensor, [size, 1]);
          expect(await tf.sum(column).data()).toHaveLength(1);
          column.dispose();
        }
      }
      tf.dispose(tensors);
      twin.dispose();
    },
  );

  test("what the host writes is there after the next call, or the next step", async () => {
    const weights = new Variable([1, 2, 3, 4], { runtime });
    const first = await weights.tensor<Tensor>();
    weights.assign([5, 6, 7, 8]);
    const second = await weights.tensor<Tensor>();
    expect(Array.from(await second.data())).toEqual([5, 6, 7, 8]);
    expect(Array.from(await first.data())).toEqual([5, 6, 7, 8]);
    weights.data[0] = 9;
    await new Adagrad({ learningRate: 0, runtime }).applyGradients([[ones(4), weights]]);
    expect(Array.from(await first.data())).toEqual([9, 6, 7, 8]);
    tf.dispose([first, second]);
  });

  test.each([1, 2, 3])("whatever happens, tensors have the variables' values: %i", async (seed) => {
    const random = new Random(seed);
    const twin = new Twin(runtime, { learningRate: 0.1, useEma: seed === 2 });
    twin.add([7], random.values(7));
    twin.add([6, 3], random.values(18));
    twin.add([400], random.values(400));
    const step = async (mode: "async" | "sync") => {
      const table = { indices: random.indices(4, 6, false), values: random.values(12) };
      await twin.step([{ dense: random.values(7) }, table, { dense: random.values(400) }], { mode });
      written.clear();
    };
    const tensors = new Map<Variable, Tensor>();
    /** What the host has written since comes with the next step, or the next call. */
    const written = new Set<Variable>();
    await step("async");
    for (let s = 0; s < 60; s++) {
      const i = random.below(3);
      const variable = twin.variables[i]!;
      const happening = random.below(5);
      if (happening === 0) {
        tensors.get(variable)?.dispose();
        tensors.set(variable, await variable.tensor<Tensor>());
        written.delete(variable);
      } else if (happening === 1) {
        const values = Float32Array.from(random.values(variable.size));
        await runtime.synchronize();
        variable.assign(values);
        twin.oracles[i]!.values.set(values);
        written.add(variable);
      } else {
        await step(happening === 2 ? "sync" : "async");
      }
      for (const [of, tensor] of tensors) {
        if (written.has(of)) continue;
        const { values } = twin.oracles[twin.variables.indexOf(of)]!;
        expectSameBits(await tensor.data(), values, `${s}, ${of.name}: `);
      }
    }
    expect(tensors.size).toBeGreaterThan(1);
    twin.expectSame();
    tf.dispose([...tensors.values()]);
    twin.dispose();
  });

  test("300 steps with a tensor each leave none behind", async () => {
    const table = Variable.ones([10, 4], { runtime });
    const optimizer = new Adagrad({ runtime });
    const gradient = { indices: [1, 7, 1], values: ones(12) };
    const held = () => ({ ...tf.memory(), device: runtime.placement().deviceBytes });
    let early = held();
    for (let s = 0; s < 300; s++) {
      const tensor = await table.tensor<Tensor>();
      tf.tidy(() => void tf.sum(tensor));
      tensor.dispose();
      await optimizer.applyGradients([[gradient, table]]);
      if (s === 9) early = held();
    }
    const late = held();
    expect([late.numTensors, late.numBytes, late.device]).toEqual([
      early.numTensors,
      early.numBytes,
      early.device,
    ]);
    table.dispose();
  });
});
