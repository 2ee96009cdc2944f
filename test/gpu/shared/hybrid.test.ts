import { Adagrad, type GradientPair, type IterationEvent, Runtime, Variable } from "@shardgrad/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Random } from "../../support/random.js";
import { expectSameState, stateOf } from "../../support/state.js";
import { accelerator, runtimeOn } from "../accelerators/tested.js";

const { cannot, description, kind } = accelerator;

describe(`one step on two devices (${kind})`, () => {
  let runtime: Runtime;
  let cpu: Runtime;
  beforeAll(async () => {
    runtime = runtimeOn({ threads: 2, inlineThreshold: 0 });
    cpu = new Runtime({ device: "cpu", threads: 0 });
    await runtime.ready();
  });
  afterAll(async () => {
    await runtime.close();
    await cpu.close();
  });

  const shapes = [[5000], [40, 8], [3], [30, 5]];

  /** The same model on a runtime, the second and the last variable kept on the CPU. */
  function modelOn(on: Runtime, options: ConstructorParameters<typeof Adagrad>[0]) {
    const random = new Random(5);
    const variables = shapes.map((shape, i) => {
      const size = shape.reduce((a, b) => a * b, 1);
      const device = i % 2 === 1 ? "cpu" : "gpu";
      return new Variable(Float32Array.from(random.values(size)), {
        name: `v${i}`,
        shape,
        device,
        runtime: on,
      });
    });
    const optimizer = new Adagrad({ learningRate: 0.1, useEma: true, runtime: on, ...options });
    const events: IterationEvent[] = [];
    optimizer.on("iteration", (event) => events.push(event));
    const gradients = (): GradientPair[] =>
      variables.map((variable, i) => {
        if (i === 0 || i === 2) return [Float32Array.from(random.values(variable.size)), variable];
        const indices = random.indices(20, variable.shape[0]!, false);
        return [{ indices, values: Float32Array.from(random.values(20 * variable.shape[1]!)) }, variable];
      });
    return { variables, optimizer, events, gradients };
  }

  test.each([{ globalClipnorm: 0.5 }, { clipnorm: 0.5 }, { clipvalue: 0.5 }, {}])(
    "%o: the bits of the CPU alone, one count, one norm, one event a step",
    async (options) => {
      for (const mode of ["async", "sync"] as const) {
        const models = [modelOn(runtime, options), modelOn(cpu, options)];
        for (const { optimizer, gradients } of models) {
          for (let s = 0; s < 3; s++) {
            if (mode === "async" || s === 0) await optimizer.applyGradients(gradients());
            else optimizer.applyGradientsSync(gradients());
          }
        }
        await runtime.synchronize();
        const [both, alone] = models.map(({ optimizer, variables }) => stateOf(optimizer, variables));
        expectSameState(both!, alone!, `${mode} ${JSON.stringify(options)}`);
        const [{ events }, { events: reference }] = models as [(typeof models)[0], (typeof models)[0]];
        expect(events.map(({ device }) => device)).toEqual(Array(3).fill("hybrid"));
        const plain = ({ iterations, elements, globalNorm, learningRate }: IterationEvent) => [
          iterations,
          elements,
          globalNorm,
          learningRate,
        ];
        expect(events.map(plain)).toEqual(reference.map(plain));
      }
    },
  );

  test("placement says what lives where, and why", async () => {
    const { variables, optimizer, gradients } = modelOn(runtime, {});
    const wide = new Variable(new Float64Array(4), { name: "wide", runtime });
    await optimizer.applyGradients([...gradients(), [[1, 2, 3, 4], wide]]);
    const { device, reasons, variables: placed } = runtime.placement();
    expect(device).toEqual({ kind, description: expect.stringMatching(description) });
    expect(reasons).toEqual([]);
    const last = placed.slice(-5).map(({ name, size, device: where, reason }) => [name, size, where, reason]);
    expect(last).toEqual([
      ["v0", 5000, "gpu", "its `device` option"],
      ["v1", 320, "cpu", "its `device` option"],
      ["v2", 3, "gpu", "its `device` option"],
      ["v3", 150, "cpu", "its `device` option"],
      cannot.float64
        ? ["wide", 4, "cpu", cannot.float64]
        : ["wide", 4, "gpu", "the runtime's `device` option"],
    ]);
    expect(() => variables[1]!.data).not.toThrow();
  });

  test("a variable's device is one of three", () => {
    // @ts-expect-error: no such device
    expect(() => new Variable([1], { device: "webgpu" })).toThrow('"auto", "cpu" or "gpu"');
  });

  test("jit_compile is in the config what was asked for where there is a device, and false elsewhere", () => {
    const config = (on: Runtime, jitCompile: boolean) => new Adagrad({ runtime: on, jitCompile }).getConfig();
    expect(config(runtime, true).jit_compile).toBe(true);
    expect(config(runtime, false).jit_compile).toBe(false);
    expect(config(cpu, true).jit_compile).toBe(false);
  });

  test("auto: small steps stay here, a large one brings its variables there, what the host reads comes back", async () => {
    const { runtime: own } = await accelerator.troubled({}, { device: "auto" });
    const weights = Variable.ones([1 << 20], { name: "weights", runtime: own });
    const bias = Variable.ones([4], { name: "bias", runtime: own });
    const optimizer = new Adagrad({ runtime: own });
    const devices: string[] = [];
    optimizer.on("iteration", ({ device }) => devices.push(device));
    const small = new Float32Array(4).fill(1);
    const large = new Float32Array(1 << 20).fill(1);
    const step = (pairs: GradientPair[]) => optimizer.applyGradients(pairs);
    optimizer.build([weights, bias]);
    await step([[small, bias]]);
    expect(own.placement().device, "not even looked for").toBeNull();
    await step([
      [large, weights],
      [small, bias],
    ]);
    await step([[small, bias]]);
    for (let i = 0; i < 3; i++) {
      await own.synchronize();
      expect(bias.data.length).toBe(4);
      await step([[small, bias]]);
    }
    expect(devices).toEqual(["inline", kind, kind, kind, kind, "inline"]);
    expect(own.placement().variables).toEqual([
      { name: "weights", size: 1 << 20, device: "gpu", reason: "a large step" },
      { name: "bias", size: 4, device: "cpu", reason: "the host reads it after every step" },
    ]);
    await own.close();
  });
});
