import {
  Adagrad,
  Optimizer,
  type Runtime,
  StaleValuesError,
  type StepGradient,
  Variable,
} from "@shardgrad/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Random } from "../../support/random.js";
import { expectSameBits } from "../../support/state.js";
import { Twin } from "../../support/twin.js";
import { accelerator, runtimeOn } from "../accelerators/tested.js";

const { cannot, kind } = accelerator;

describe(`variables that live on a device (${kind})`, () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = runtimeOn();
    await runtime.ready();
  });
  afterAll(() => runtime.close());

  const ones = (count: number) => new Float32Array(count).fill(1);

  test("old values on the host cannot be seen; read and synchronize give the new ones", async () => {
    const weights = Variable.ones([3], { runtime });
    const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime });
    const twin = Variable.ones([3], { runtime, device: "cpu" });
    await optimizer.applyGradients([
      [ones(3), weights],
      [ones(3), twin],
    ]);
    const { accumulators } = optimizer;
    for (const variable of [weights, accumulators[0]!]) {
      expect(() => variable.data).toThrow(StaleValuesError);
      expect(() => variable.segments[0]!.data).toThrow(StaleValuesError);
      expect(() => variable.toArray()).toThrow(StaleValuesError);
      expect(() => variable.assign([1, 2, 3])).toThrow(StaleValuesError);
    }
    expect(await weights.read()).toEqual(twin.data);
    expect(await accumulators[0]!.read()).toEqual(Float32Array.of(1, 1, 1));
    expect(() => weights.data, "a copy brings nothing home").toThrow(StaleValuesError);
    await runtime.synchronize();
    expect(weights.data).toEqual(twin.data);
    expect(await weights.read(), "from the host now").toEqual(twin.data);
  });

  test("what the host writes between steps counts", async () => {
    const twin = new Twin(runtime, { learningRate: 0.5 });
    twin.add([4], [1, 2, 3, 4]);
    await twin.step([{ dense: [1, 1, 1, 1] }]);
    const [variable, oracle] = [twin.variables[0]!, twin.oracles[0]!];
    variable.data[2] = 10;
    oracle.values[2] = 10;
    twin.optimizer.accumulators[0]!.data[0] = 4;
    oracle.accumulator[0] = 4;
    await twin.step([{ dense: [1, 2, 3, 4] }]);
    twin.expectSame();
    variable.assign([5, 6, 7, 8]);
    oracle.values.set([5, 6, 7, 8]);
    await twin.step([{ dense: [1, 2, 3, 4] }], { mode: "sync" });
    twin.expectSame();
  });

  test("a new variable in the memory of one that is gone has its own values", async () => {
    const before = runtime.placement().deviceBytes;
    for (let i = 0; i < 3; i++) {
      const twin = new Twin(runtime, { useEma: true });
      const random = new Random(i);
      twin.add([300_000], random.values(300_000));
      for (let s = 0; s < 2; s++) await twin.step([{ dense: random.values(300_000) }]);
      twin.expectSame(`round ${i}`);
      twin.dispose();
    }
    // Buffers for gradients stay; those of variables went with them.
    expect(runtime.placement().deviceBytes - before).toBeLessThan(20 << 20);
  });

  test("gradients may be what the host has of variables that live there", async () => {
    const weights = new Variable([1, 2], { runtime });
    const optimizer = new Adagrad({ learningRate: 1, runtime });
    await optimizer.applyGradients([[[1, 1], weights]]);
    await expect(async () => optimizer.applyGradients([[weights.data, weights]])).rejects.toThrow(
      StaleValuesError,
    );
    expect(optimizer.iterations).toBe(1);
    await runtime.synchronize();
    await optimizer.applyGradients([[weights.data, weights]]);
  });

  test("a step of an optimizer that may not use the device brings its variables home", async () => {
    const weights = new Variable([1, 2], { runtime });
    const optimizers = [true, false].map((jitCompile) => new Adagrad({ jitCompile, runtime }));
    await optimizers[0]!.applyGradients([[[1, 1], weights]]);
    await optimizers[0]!.applyGradients([[[1, 1], weights]]);
    await runtime.synchronize();
    const devices: string[] = [];
    optimizers[1]!.on("iteration", ({ device }) => devices.push(device));
    await optimizers[1]!.applyGradients([[[1, 1], weights]]);
    expect(devices).toEqual(["inline"]);
    expect(weights.data.length).toBe(2);
  });

  test("so does one that updates in JavaScript; its synchronous step is refused before", async () => {
    class Adding extends Optimizer {
      override updateStep(gradient: StepGradient, { data }: Variable): void {
        (gradient as Float32Array).forEach((value, i) => {
          data[i]! += value;
        });
      }
    }
    for (const options of [{}, { clipvalue: 5 }, { useEma: true }]) {
      const weights = new Variable([1, 2], { runtime });
      const kernels = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime });
      const adding = new Adding({ ...options, runtime });
      await adding.applyGradients([[[1, 1], weights]]);
      await kernels.applyGradients([[[1, 1], weights]]);
      expect(() => adding.applyGradientsSync([[[1, 1], weights]])).toThrow(StaleValuesError);
      await adding.applyGradients([[[1, 1], weights]]);
      expect([...weights.data]).toEqual([2, 3]);
      expect(adding.iterations).toBe(2);
    }
  });

  test("the first step of an optimizer whose averages begin as values that are there", async () => {
    const weights = new Variable([1, 2], { runtime });
    const first = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime });
    await first.applyGradients([[[1, 1], weights]]);
    const second = new Adagrad({ learningRate: 1, useEma: true, emaMomentum: 0.5, runtime });
    await second.applyGradients([[[0, 0], weights]]);
    expect(await second.averages[0]!.read()).toEqual(Float32Array.of(0, 1));
  });

  test("after close everything is on the host", async () => {
    const own = runtimeOn();
    const twin = new Twin(own, { clipnorm: 1 });
    twin.add([10], new Random(1).values(10));
    await twin.optimizer.applyGradients([[ones(10), twin.variables[0]!]]);
    twin.reference.step([[{ dense: ones(10) }, twin.oracles[0]!]]);
    await own.close();
    twin.expectClose({ rtol: 1e-6, atol: 1e-6 });
    expect(own.placement().device).toBeNull();
  });

  test("rows are gathered there, from several memories and pieces, without the table", async () => {
    const limits = { bindingBytes: 16 << 10 };
    const { runtime: own, device } = await accelerator.troubled(limits, { arenaBytes: 256 << 10 });
    const random = new Random(6);
    const twin = new Twin(own, { learningRate: 0.1 });
    twin.add([1500, 20], random.values(30_000));
    const [table, oracle] = [twin.variables[0]!, twin.oracles[0]!];
    expect(table.segments.length).toBeGreaterThan(1);
    const gradient = Float32Array.from(random.values(30_000));
    twin.reference.step([[{ dense: gradient }, oracle]]);
    await twin.optimizer.applyGradients([[gradient, table]]);
    const rows = random.indices(300, 1500, false);
    const expected = Float32Array.from(
      rows.flatMap((row) => [...oracle.values.subarray(row * 20, row * 20 + 20)]),
    );
    let downloaded = 0;
    device.before = (what) => what === "download" && downloaded++;
    expect(() => table.gather(rows)).toThrow(StaleValuesError);
    expect(() => table.handle()).toThrow(StaleValuesError);
    expect(await table.gatherAsync(rows)).toEqual(expected);
    expect(downloaded).toBeGreaterThan(0);
    expect(() => table.data, "the table stays").toThrow(Error);
    device.lose("pulled out", true);
    expect(await table.gatherAsync(rows), "from the host, by the journal").toEqual(expected);
    await own.close();
  });

  test("a variable that other threads read stays on the CPU", async () => {
    const weights = Variable.ones([4, 2], { runtime });
    const optimizer = new Adagrad({ runtime });
    const devices: string[] = [];
    optimizer.on("iteration", ({ device }) => devices.push(device));
    await optimizer.applyGradients([[ones(8), weights]]);
    await runtime.synchronize();
    const reader = Variable.attach(weights.handle());
    await optimizer.applyGradients([[ones(8), weights]]);
    optimizer.applyGradientsSync([[ones(8), weights]]);
    expect(devices).toEqual([kind, "inline", "inline"]);
    expect(reader.gather([3])).toEqual(weights.data.slice(6));
  });

  test.skipIf(cannot.packing !== undefined)(
    `a thousand small variables take few launches${cannot.packing ? ` (${cannot.packing})` : ""}`,
    async () => {
      const { runtime: own, device } = await accelerator.troubled();
      const small = Array.from({ length: 1000 }, (_, i) => Variable.ones([i % 40], { runtime: own }));
      const optimizer = new Adagrad({ globalClipnorm: 1, useEma: true, runtime: own });
      await optimizer.applyGradients(small.map((variable) => [ones(variable.size), variable]));
      expect(device.launched[0]!.length).toBeLessThan(8);
      await own.close();
    },
  );

  test("a large variable takes a launch for each of its pieces", async () => {
    const { runtime: own, device } = await accelerator.troubled({ bindingBytes: 1 << 20 });
    const twin = new Twin(own, { learningRate: 0.1 });
    const random = new Random(2);
    twin.add([1_000_003], random.values(1_000_003));
    await twin.step([{ dense: random.values(1_000_003) }]);
    twin.expectSame();
    // Where there are no limits there are no pieces.
    expect(device.launched).toEqual(cannot.limits ? [] : [Array(4).fill("adagradDense")]);
    const read = await twin.variables[0]!.read();
    expectSameBits(read as Float32Array, twin.oracles[0]!.values, "in pieces");
    await own.close();
  });
});
