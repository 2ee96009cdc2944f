import { Adagrad, GradientReadError, Runtime, type RuntimeOptions, Variable } from "@shardgrad/core";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { gatedTensor } from "../support/gated-tensor.js";
import { Random } from "../support/random.js";
import { expectSameState, stateOf } from "../support/state.js";
import { type Tfjs, tfBackends, tfWith } from "../support/tfjs.js";
import { Twin } from "../support/twin.js";
import { troubledTfjs } from "./accelerators/troubled-tfjs.js";

type Tensor = ReturnType<Tfjs["tensor"]>;

describe.each(tfBackends)("tensors of the application as gradients, %s", (backend) => {
  let tf: Tfjs;
  beforeAll(async () => {
    tf = await tfWith(backend);
  });

  /** tfjs, and the sizes of the float32 arrays that were given to it. */
  function watched() {
    const given: number[] = [];
    const tensor = (...args: Parameters<Tfjs["tensor"]>) => {
      if (args[0] instanceof Float32Array) given.push(args[0].length);
      return tf.tensor(...args);
    };
    return { tf: { ...tf, default: undefined, tensor }, given };
  }

  test.each([{}, { clipnorm: 1 }, { globalClipnorm: 1 }, { useEma: true }])(
    "go into the ops as they are: nothing goes up, %o",
    async (options) => {
      const { tf: module, given } = watched();
      const runtime = new Runtime({ device: "tfjs", tf: module, threads: 0 });
      const weights = Variable.ones([37], { runtime });
      const table = Variable.ones([11, 3], { runtime });
      const optimizer = new Adagrad({ ...options, runtime });
      const [dense, values] = [tf.ones([37]), tf.ones([5, 3])];
      const step = () =>
        optimizer.applyGradients([
          [dense, weights],
          [{ indices: [1, 2, 1, 4, 5], values }, table],
        ]);
      // Values go up, and the optimizer is built.
      await step();
      given.length = 0;
      for (let s = 0; s < 3; s++) await step();
      // Numbers go up, and zeros that are added to.
      expect(given.filter((length) => length === 37 || length === 15)).toEqual([]);
      tf.dispose([dense, values]);
      await runtime.close();
    },
  );

  test("of another back end, from which tfjs takes them", async () => {
    const runtime = new Runtime({ device: "tfjs", tf, threads: 0 });
    const twin = new Twin(runtime, { learningRate: 0.5 });
    const values = new Random(1).values(37);
    twin.add([37], values);
    await twin.step([{ dense: values }]);
    await tf.setBackend(backend === "cpu" ? "wasm" : "cpu");
    const gradient = tf.tensor1d(Float32Array.from(values));
    await gradient.data();
    await tf.setBackend(backend);
    await twin.optimizer.applyGradients([[gradient, twin.variables[0]!]]);
    twin.reference.step([[{ dense: Float64Array.from(values, Math.fround) }, twin.oracles[0]!]]);
    await runtime.synchronize();
    twin.expectSame();
    gradient.dispose();
    await runtime.close();
  });

  test("of a tfjs that does not tell where tensors are: by way of the host", async () => {
    const { tf: module, given } = watched();
    const runtime = new Runtime({ device: "tfjs", tf: { ...module, engine: undefined }, threads: 0 });
    const weights = Variable.ones([37], { runtime });
    const optimizer = new Adagrad({ runtime });
    const gradient = tf.ones([37]);
    await optimizer.applyGradients([[gradient, weights]]);
    given.length = 0;
    await optimizer.applyGradients([[gradient, weights]]);
    expect(given).toContain(37);
    expect(runtime.placement().device?.kind).toBe("tfjs");
    gradient.dispose();
    await runtime.close();
  });
});

describe("while the values are on their way to the host", () => {
  let tf: Tfjs;
  beforeAll(async () => {
    tf = await tfWith("cpu");
  });

  const runtimes: Runtime[] = [];
  afterEach(async () => {
    for (const runtime of runtimes.splice(0)) await runtime.close();
  });

  /** A runtime on tfjs with a model that has made a step, another that makes the same steps on the CPU, and launches. */
  async function models(options: RuntimeOptions = {}) {
    const { runtime, device } = await troubledTfjs(options);
    const cpu = new Runtime({ device: "cpu", threads: 0 });
    runtimes.push(runtime, cpu);
    const launches: string[] = [];
    device.before = (what) => launches.push(what);
    const [there, here] = [runtime, cpu].map((on) => {
      const random = new Random(4);
      const variables = [new Variable(Float32Array.from(random.values(50)), { runtime: on })];
      variables.push(new Variable(Float32Array.from(random.values(60)), { shape: [20, 3], runtime: on }));
      const optimizer = new Adagrad({
        learningRate: 0.3,
        useEma: true,
        emaOverwriteFrequency: 2,
        runtime: on,
      });
      return { variables, optimizer };
    }) as unknown as [Model, Model];
    const values = (seed: number) => {
      const random = new Random(seed);
      return [Float32Array.from(random.values(50)), Float32Array.from(random.values(12))] as const;
    };
    const pairs = ({ variables: [weights, table] }: Model, seed: number, dense?: Tensor) => {
      const [first, second] = values(seed);
      return [
        [dense ?? first, weights!],
        [{ indices: [7, 1, 7, 19], values: second }, table!],
      ] as const;
    };
    /** The same step on both, of arrays. */
    const step = async (seed: number) => {
      await there.optimizer.applyGradients(pairs(there, seed));
      await here.optimizer.applyGradients(pairs(here, seed));
    };
    /** A step whose dense gradient is a gated tensor. */
    const gated = (seed: number) => {
      const gradient = gatedTensor(tf, values(seed)[0], [50]);
      launches.length = 0;
      const done = there.optimizer.applyGradients(pairs(there, seed, gradient.tensor));
      gradient.tensor.dispose();
      done.catch(() => {});
      return { ...gradient, done };
    };
    const expectSame = async (what = "") => {
      await runtime.synchronize();
      expectSameState(
        stateOf(there.optimizer, there.variables),
        stateOf(here.optimizer, here.variables),
        what,
      );
    };
    await step(1);
    return { runtime, device, there, here, launches, pairs, step, gated, expectSame };
  }

  interface Model {
    readonly variables: readonly Variable[];
    readonly optimizer: Adagrad;
  }

  /** Resolves when the step of a model was launched. */
  async function launched(launches: readonly string[]): Promise<void> {
    await expect.poll(() => launches.includes("launch"), { interval: 1 }).toBe(true);
  }

  test("the step is launched, but ends and is seen only when they have come", async () => {
    const { runtime, there, here, launches, pairs, gated, expectSame } = await models();
    const { done, open } = gated(2);
    await launched(launches);
    const ended: string[] = [];
    const all = [
      done.then(() => ended.push("step")),
      runtime.synchronize().then(() => ended.push("synchronize")),
      there.variables[0]!.read().then(() => ended.push("read")),
      there.variables[1]!.gatherAsync([7]).then(() => ended.push("gather")),
    ];
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(ended).toEqual([]);
    open();
    await Promise.all(all);
    await here.optimizer.applyGradients(pairs(here, 2));
    await expectSame();
  });

  test("they do not come: the step has not happened, and the device is given up", async () => {
    const before = tf.memory().numTensors;
    const { runtime, there, launches, step, gated, expectSame } = await models();
    await step(2);
    const iterations = there.optimizer.iterations;
    const { done, refuse } = gated(3);
    await launched(launches);
    refuse(new Error("no room to map"));
    const error = await done.catch((reason) => reason);
    expect(error).toBeInstanceOf(GradientReadError);
    expect(error).toMatchObject({ argument: "gradient of Variable", cause: { message: "no room to map" } });
    expect(there.optimizer.iterations).toBe(iterations);
    expect(runtime.placement().device).toBe(null);
    await expectSame("as before the step");
    // With the same numbers, once more.
    await step(3);
    await expectSame("after the next step");
    await runtime.close();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("the device is lost, and they come: the step is done on the CPU", async () => {
    const { device, here, launches, pairs, step, gated, expectSame } = await models();
    await step(2);
    const { done, open } = gated(3);
    await launched(launches);
    device.lose("gone");
    await new Promise(setImmediate);
    open();
    await done;
    await here.optimizer.applyGradients(pairs(here, 3));
    await expectSame();
  });

  test("the device is lost, and they do not come: the step has not happened", async () => {
    const { device, launches, step, gated, expectSame } = await models();
    await step(2);
    const { done, refuse } = gated(3);
    await launched(launches);
    device.lose("gone");
    await new Promise(setImmediate);
    refuse(new Error("gone"));
    await expect(done).rejects.toThrow(GradientReadError);
    await expectSame();
    await step(4);
    await expectSame();
  });

  test("a launch that fails: the step is done on the CPU when they have come", async () => {
    const { device, here, launches, pairs, gated, expectSame } = await models();
    const { done, open } = gated(3);
    device.before = (what) => {
      launches.push(what);
      if (what === "launch") device.lose("at the launch", true);
    };
    await launched(launches);
    open();
    await done;
    await here.optimizer.applyGradients(pairs(here, 3));
    await expectSame();
  });

  test.each([
    ["come", "the bits of both"],
    ["do not come", "those of the other alone"],
  ])("another optimizer's synchronous step between; they %s: %s", async (which) => {
    const { runtime, there, here, launches, pairs, gated, expectSame } = await models({
      // Full at once: a synchronous step would do again here what cannot be done again yet.
      journalBytes: 0,
    });
    const [otherThere, otherHere] = [there, here].map(
      (_, i) => new Adagrad({ learningRate: 0.1, runtime: runtimes[i]! }),
    ) as [Adagrad, Adagrad];
    const sync = (optimizer: Adagrad, model: Model) => optimizer.applyGradientsSync(pairs(model, 9));
    // Its slots have their room on the device by now.
    await otherThere.applyGradients(pairs(there, 8));
    await otherHere.applyGradients(pairs(here, 8));
    const { done, open, refuse } = gated(3);
    await launched(launches);
    sync(otherThere, there);
    expect(launches.filter((what) => what === "launch")).toHaveLength(2);
    if (which === "come") {
      open();
      await done;
      await here.optimizer.applyGradients(pairs(here, 3));
    } else {
      refuse(new Error("gone"));
      await expect(done).rejects.toThrow(GradientReadError);
    }
    sync(otherHere, here);
    await expectSame();
    expect(runtime.placement().device === null).toBe(which !== "come");
  });

  test("with a journal that is always full: everything is home after each step", async () => {
    const { there, here, launches, pairs, gated, expectSame } = await models({ journalBytes: 0 });
    for (const seed of [3, 4]) {
      const { done, open } = gated(seed);
      await launched(launches);
      open();
      await done;
      await here.optimizer.applyGradients(pairs(here, seed));
      expect(there.variables[0]!.data, "no StaleValuesError").toHaveLength(50);
    }
    await expectSame();
  });

  test("optimizers that need them first wait for them: clipping by norm, updates in JavaScript", async () => {
    const { runtime, launches } = await models();
    class Descent extends Adagrad {
      override updateStep(gradient: never, { data }: Variable): void {
        for (let i = 0; i < data.length; i++) data[i]! -= (gradient as Float32Array)[i]!;
      }
    }
    for (const optimizer of [
      new Adagrad({ globalClipnorm: 1, runtime }),
      new Descent({ runtime }),
      new Adagrad({ jitCompile: false, runtime }),
    ]) {
      const weights = Variable.ones([50], { runtime });
      await optimizer.applyGradients([[new Float32Array(50), weights]]);
      launches.length = 0;
      const { tensor, open } = gatedTensor(tf, new Float32Array(50).fill(1), [50]);
      const done = optimizer.applyGradients([[tensor, weights]]);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(launches).not.toContain("launch");
      open();
      await done;
      tensor.dispose();
      expect(optimizer.iterations).toBe(2);
    }
  });
});
