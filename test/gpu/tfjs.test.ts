import {
  Adagrad,
  type GradientPair,
  Runtime,
  type RuntimeOptions,
  StaleValuesError,
  Variable,
} from "@shardgrad/core";
import type { OpenOptions } from "@shardgrad/workers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import { expectSameState, stateOf } from "../support/state.js";
import { type Tfjs, tfBackends, tfWith } from "../support/tfjs.js";
import { Twin } from "../support/twin.js";

describe.each(tfBackends)("tfjs that the application hands over, %s", (backend) => {
  let tf: Tfjs;
  let runtime: Runtime;
  beforeAll(async () => {
    tf = await tfWith(backend);
    runtime = new Runtime({ device: "tfjs", tf, threads: 0 });
    await runtime.ready();
  });
  afterAll(() => runtime.close());

  const ones = (count: number) => new Float32Array(count).fill(1);

  test("1,000 steps leave no tensors behind, and closing takes the rest", async () => {
    const before = tf.memory();
    const own = new Runtime({ device: "tfjs", tf, threads: 0 });
    const random = new Random(1);
    const table = new Variable(Float32Array.from(random.values(40)), { shape: [10, 4], runtime: own });
    const bias = Variable.ones([5], { runtime: own });
    const options = { useEma: true, emaOverwriteFrequency: 3, runtime: own } as const;
    const optimizers = [
      new Adagrad({ ...options, globalClipnorm: 1 }),
      new Adagrad({ ...options, clipnorm: 1, duplicateIndices: "perRow" }),
      new Adagrad({ ...options, clipvalue: 1, accumulator: "rowwise" }),
    ];
    for (const optimizer of optimizers) optimizer.build([table, bias]);
    const slices = { indices: [1, 7, 1], values: Float32Array.from(random.values(12)) };
    let early: ReturnType<typeof tf.memory> | undefined;
    for (let s = 0; s < 1000; s++) {
      const optimizer = optimizers[s % optimizers.length]!;
      const pairs: GradientPair[] = [
        [s % 2 === 0 ? slices : Float32Array.from(random.values(40)), table],
        [ones(5), bias],
      ];
      if (s % 5 === 4) optimizer.applyGradientsSync(pairs);
      else await optimizer.applyGradients(pairs);
      if (s % 100 === 9) await own.synchronize();
      if (s === 9) early = tf.memory();
    }
    // The last step was synchronous: what it waits for is still on its way.
    await new Promise(setImmediate);
    const { numTensors, numBytes, numDataBuffers } = tf.memory();
    expect({ numTensors, numBytes, numDataBuffers }).toEqual({
      numTensors: early!.numTensors,
      numBytes: early!.numBytes,
      numDataBuffers: early!.numDataBuffers,
    });
    // Two variables, and for each optimizer two averages and two accumulators, one of them row-wise.
    expect(own.placement().deviceBytes).toBe(4 * (45 + 3 * 45 + 2 * 45 + 10 + 5));
    await own.close();
    expect(tf.memory()).toMatchObject({ numTensors: before.numTensors, numBytes: before.numBytes });
  });

  test("variables that are gone leave no tensors behind", async () => {
    const before = tf.memory().numTensors;
    const twin = new Twin(runtime, { useEma: true });
    twin.add([30], new Random(1).values(30));
    await twin.step([{ dense: ones(30) }]);
    expect(tf.memory().numTensors).toBe(before + 3);
    twin.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("the application's tensors and variables are its own, and its clean-up does not reach ours", async () => {
    const mine = tf.tensor1d([1, 2, 3]);
    const twin = new Twin(runtime, { learningRate: 0.1 });
    twin.add([3], [4, 5, 6]);
    await twin.step([{ dense: ones(3) }]);
    // A gradient that the application computed, and a synchronous step within its own scope.
    tf.tidy(() => {
      const gradient = tf.mul(mine, tf.scalar(2)).dataSync() as Float32Array;
      twin.reference.step([[{ dense: gradient }, twin.oracles[0]!]]);
      twin.optimizer.applyGradientsSync([[gradient, twin.variables[0]!]]);
    });
    tf.variable(tf.scalar(1), true);
    tf.disposeVariables();
    await twin.step([{ dense: ones(3) }]);
    twin.expectSame();
    expect(Array.from(mine.dataSync())).toEqual([1, 2, 3]);
    mine.dispose();
    twin.dispose();
  });

  test("values are read in the middle of steps, and cannot be seen where they are old", async () => {
    const shape = [3, 1];
    const weights = new Variable([1, 2, 3], { shape, runtime });
    const same = new Variable([1, 2, 3], { shape, runtime, device: "cpu" });
    const optimizer = new Adagrad({ learningRate: 1, runtime });
    const slices = { indices: [1], values: ones(1) };
    const pairs: GradientPair[] = [
      [slices, weights],
      [slices, same],
    ];
    await optimizer.applyGradients(pairs);
    const expected = same.data.slice();
    const reading = weights.read();
    optimizer.applyGradientsSync(pairs);
    expect(await reading).toEqual(expected);
    expect(() => weights.data).toThrow(StaleValuesError);
    expect(await weights.read()).toEqual(same.data);
  });

  test("rows are gathered there, without the table", async () => {
    const table = Variable.ones([6, 2], { runtime });
    const same = Variable.ones([6, 2], { runtime, device: "cpu" });
    const gradient = Float32Array.from({ length: 12 }, (_, i) => i);
    await new Adagrad({ learningRate: 1, runtime }).applyGradients([
      [gradient, table],
      [gradient, same],
    ]);
    expect(() => table.gather([5, 0])).toThrow(StaleValuesError);
    expect(await table.gatherAsync([5, 0, 5])).toEqual(same.gather([5, 0, 5]));
    expect(() => table.data, "the table stays").toThrow(StaleValuesError);
  });

  test("variables and averages that were made the same go their own ways, over many steps", async () => {
    const cpu = new Runtime({ device: "cpu", threads: 0 });
    const states = [runtime, cpu].map(async (on) => {
      const random = new Random(2);
      const table = new Variable(Float32Array.from(random.values(60)), { shape: [20, 3], runtime: on });
      const optimizer = new Adagrad({
        useEma: true,
        emaMomentum: 0.5,
        emaOverwriteFrequency: 2,
        runtime: on,
      });
      for (let s = 0; s < 6; s++) {
        const indices = random.indices(9, 20, false);
        await optimizer.applyGradients([[{ indices, values: Float32Array.from(random.values(27)) }, table]]);
      }
      await on.synchronize();
      return stateOf(optimizer, [table]);
    });
    const [there, here] = await Promise.all(states);
    expectSameState(there!, here!);
    await cpu.close();
  });

  test("clipping gives the bits of the CPU, and its norms", async () => {
    const cpu = new Runtime({ device: "cpu", threads: 0 });
    for (const options of [{ clipnorm: 0.5 }, { globalClipnorm: 0.5 }, { clipvalue: 0.5 }]) {
      const models = [runtime, cpu].map((on) => {
        const random = new Random(9);
        const variables = [[9001], [50, 7]].map((shape) => {
          const size = shape.reduce((a, b) => a * b, 1);
          return new Variable(Float32Array.from(random.values(size)), { shape, runtime: on });
        });
        const optimizer = new Adagrad({ ...options, runtime: on });
        const norms: unknown[] = [];
        optimizer.on("iteration", ({ globalNorm }) => norms.push(globalNorm));
        const step = () =>
          optimizer.applyGradients([
            [Float32Array.from(random.values(9001)), variables[0]!],
            [
              { indices: random.indices(20, 50, false), values: Float32Array.from(random.values(140)) },
              variables[1]!,
            ],
          ]);
        return { variables, optimizer, norms, step };
      });
      for (let s = 0; s < 3; s++) for (const { step } of models) await step();
      await runtime.synchronize();
      const [there, here] = models.map(({ optimizer, variables }) => stateOf(optimizer, variables));
      expectSameState(there!, here!, JSON.stringify(options));
      expect(models[0]!.norms).toEqual(models[1]!.norms);
    }
    await cpu.close();
  });

  test("tensors of variables: the values of now, which later steps leave as they are", async () => {
    const before = tf.memory().numTensors;
    const twin = new Twin(runtime, { learningRate: 0.1, accumulator: "rowwise" });
    const random = new Random(3);
    twin.add([6, 3], random.values(18));
    twin.add([5], random.values(5));
    const step = () =>
      twin.step([{ indices: [1, 4, 1], values: random.values(9) }, { dense: random.values(5) }]);
    const seen: [tensor: ReturnType<typeof tf.tensor>, values: Float32Array][] = [];
    const look = async () => {
      for (const variable of [
        ...twin.variables,
        ...(twin.optimizer.built ? twin.optimizer.accumulators : []),
      ]) {
        const tensor = await variable.tensor<ReturnType<typeof tf.tensor>>();
        expect(tensor.shape).toEqual(variable.shape);
        seen.push([tensor, (await variable.read()) as Float32Array]);
      }
    };
    await look();
    for (let s = 0; s < 3; s++) {
      await step();
      await look();
    }
    await runtime.synchronize();
    twin.variables[1]!.assign([1, 2, 3, 4, 5]);
    await look();
    for (const [tensor, values] of seen) expect(await tensor.data()).toEqual(values);
    expect(Array.from(seen.at(-3)![1]), "what the host wrote").toEqual([1, 2, 3, 4, 5]);
    tf.dispose(seen.map(([tensor]) => tensor));
    twin.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("what cannot live there stays on the CPU, in the same steps", async () => {
    const dtypes = ["float32", "float64", "float16"] as const;
    const variables = dtypes.map((dtype) => Variable.ones([4], { name: dtype, dtype, runtime }));
    const optimizer = new Adagrad({ runtime });
    const devices: string[] = [];
    optimizer.on("iteration", ({ device }) => devices.push(device));
    await optimizer.applyGradients(variables.map((variable) => [[1, 1, 1, 1], variable] as GradientPair));
    expect(devices).toEqual(["hybrid"]);
    const placed = runtime.placement().variables.slice(-3);
    expect(placed.map(({ name, device, reason }) => `${name} ${device}: ${reason}`)).toEqual([
      "float32 gpu: the runtime's `device` option",
      "float64 cpu: tfjs has no float64",
      "float16 cpu: tfjs has no float16",
    ]);
    expect(runtime.placement().device).toEqual({
      kind: "tfjs",
      description: `tfjs 4.22.0 with its back end "${backend}"`,
    });
  });
});

/** The application's tfjs, with a back end that says it is one on a GPU. */
const asGpu = (tf: Tfjs) => ({ ...tf, getBackend: () => "webgpu" });

describe("auto", () => {
  test("looks for tfjs last, and only when it was handed over", async () => {
    const tf = await tfWith("cpu");
    for (const given of [{}, { tf }]) {
      const asked: OpenOptions[] = [];
      const runtime = new Runtime({
        ...given,
        threads: 0,
        [Symbol.for("shardgrad.openAccelerator")]: async (options: OpenOptions) => {
          asked.push(options);
          return ["none"];
        },
      } as RuntimeOptions);
      const weights = Variable.ones([1 << 20], { runtime });
      await new Adagrad({ runtime }).applyGradients([[new Float32Array(1 << 20), weights]]);
      expect(asked[0]).toMatchObject({
        kinds: "tf" in given ? ["cuda", "webgpu", "tfjs"] : ["cuda", "webgpu"],
        software: false,
      });
      expect(asked[0]!.tf).toBe("tf" in given ? tf : undefined);
      await runtime.close();
    }
  });

  test("takes a back end on a GPU for large steps, and none that computes on the processor", async () => {
    const tf = await tfWith("wasm");
    for (const [given, device] of [
      [asGpu(tf), "tfjs"],
      [tf, "inline"],
    ] as const) {
      const runtime = new Runtime({ tf: given, threads: 0 });
      const weights = Variable.ones([1 << 20], { runtime });
      const optimizer = new Adagrad({ runtime });
      const devices: string[] = [];
      optimizer.on("iteration", (event) => devices.push(event.device));
      await optimizer.applyGradients([[new Float32Array(1 << 20).fill(1), weights]]);
      expect(devices).toEqual([device]);
      if (device === "inline") {
        expect(runtime.placement().reasons.at(-1)).toBe(
          'tfjs: its back end "wasm" computes on the processor, as this package does, only slower',
        );
      }
      await runtime.close();
    }
  });
});
