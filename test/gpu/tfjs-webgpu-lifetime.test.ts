import {
  Adagrad,
  DisposedVariableError,
  Runtime,
  SplitVariableError,
  StateError,
  Variable,
} from "@shardgrad/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeOnTfjsWebGpu, openTfjsWebGpu } from "../support/on-tfjs-webgpu.js";
import { Random } from "../support/random.js";
import type { Tfjs } from "../support/tfjs.js";
import { Twin } from "../support/twin.js";

type Tensor = ReturnType<Tfjs["tensor"]>;

describeOnTfjsWebGpu("the life of tensors over variables, and of their device", () => {
  let tf: Tfjs;
  let runtime: Runtime;
  beforeAll(async () => {
    ({ tf, runtime } = await openTfjsWebGpu());
  });
  afterAll(() => runtime.close());

  const device = () => (tf.backend() as unknown as { device: GPUDevice }).device;
  const ones = (count: number) => new Float32Array(count).fill(1);

  describe("a tensor ends with what it lies in", () => {
    test("the variable is disposed, resized, or leaves the device", async () => {
      const ends: Record<string, (variable: Variable) => unknown> = {
        dispose: (variable) => variable.dispose(),
        handle: (variable) => variable.handle(),
        "a step on the CPU": (variable) =>
          new Adagrad({ jitCompile: false, runtime }).applyGradients([[new Float32Array(16), variable]]),
        resizeRows: (variable) => variable.resizeRows(9),
      };
      for (const [name, end] of Object.entries(ends)) {
        const variable = Variable.ones([4, 4], { runtime });
        const tensor = await variable.tensor<Tensor>();
        const doubled = tf.mul(tensor, 2);
        await end(variable);
        expect(tensor.isDisposed, name).toBe(true);
        await expect(tensor.data(), name).rejects.toThrow("disposed");
        expect(() => tf.mul(tensor, 2), name).toThrow();
        expect((await doubled.data())[0], "what was recorded before is right").toBe(2);
        doubled.dispose();
        if (!variable.disposed) variable.dispose();
      }
    });

    test("the runtime is closed; tfjs goes on", async () => {
      const own = new Runtime({ device: "tfjs", tf, threads: 0 });
      const weights = Variable.ones([4], { runtime: own });
      const tensor = await weights.tensor<Tensor>();
      await own.close();
      expect(tensor.isDisposed).toBe(true);
      expect(Array.from(await tf.add(tf.ones([2]), 1).data())).toEqual([2, 2]);
      const again = new Runtime({ device: "tfjs", tf, threads: 0 });
      await again.ready();
      expect(again.placement().device?.kind).toBe("webgpu");
      await again.close();
    });
  });

  describe("refused, with nothing changed", () => {
    test("variables of which there is no tensor", async () => {
      const double = Variable.ones([4], { dtype: "float64", runtime });
      await expect(double.tensor()).rejects.toThrow(StateError);
      await expect(double.tensor()).rejects.toThrow("webgpu has no float64");
      const empty = Variable.ones([0, 4], { runtime });
      await expect(empty.tensor()).rejects.toThrow("it has no elements");
      const gone = Variable.ones([4], { runtime });
      gone.dispose();
      await expect(gone.tensor()).rejects.toThrow(DisposedVariableError);
      const grown = Variable.ones([2, 4], { runtime });
      await grown.resizeRows(300_000);
      expect(grown.segments.length).toBeGreaterThan(1);
      await expect(grown.tensor()).rejects.toThrow(SplitVariableError);
      const before = runtime.placement().deviceBytes;
      double.data[0] = 7;
      expect(double.data[0]).toBe(7);
      expect(runtime.placement().deviceBytes).toBe(before);
    });

    test("runtimes without such a device", async () => {
      const cpu = new Runtime({ device: "cpu", threads: 0 });
      await expect(Variable.ones([4], { runtime: cpu }).tensor()).rejects.toThrow(
        'it needs `device: "tfjs"`',
      );
      const none = new Runtime({ device: "tfjs", threads: 0 });
      none.on("deviceChanged", () => {});
      await expect(Variable.ones([4], { runtime: none }).tensor()).rejects.toThrow("no `tf` was handed over");
      await Promise.all([cpu.close(), none.close()]);
    });
  });

  test("a device with too low a limit: the ops of tfjs do the steps, and a line says why", async () => {
    const backend = tf.backend();
    const limits = Object.create(device().limits, { maxStorageBuffersPerShaderStage: { value: 4 } });
    const lesser = new Proxy(device(), {
      get: (real, name) => {
        const value = name === "limits" ? limits : Reflect.get(real, name);
        return typeof value === "function" ? value.bind(real) : value;
      },
    });
    const given = {
      ...tf,
      default: undefined,
      backend: () => Object.create(backend, { device: { value: lesser } }),
    };
    const own = new Runtime({ device: "tfjs", tf: given, threads: 0 });
    await own.ready();
    expect(own.placement().device).toEqual({
      kind: "tfjs",
      description:
        'tfjs 4.22.0 with its back end "webgpu" (its device is not shared: maxStorageBuffersPerShaderStage is 4, ' +
        "and the kernels need at least 8)",
    });
    const weights = Variable.ones([4], { runtime: own });
    const tensor = await weights.tensor<Tensor>();
    await new Adagrad({ learningRate: 1, runtime: own }).applyGradients([[ones(4), weights]]);
    expect(Array.from(await tensor.data()), "of its own, as it was").toEqual([1, 1, 1, 1]);
    expect((await weights.read())[0]).toBeLessThan(1);
    tensor.dispose();
    await own.close();
  });

  test("an error of the application is not taken for ours", async () => {
    const weights = Variable.ones([4], { runtime });
    const optimizer = new Adagrad({ runtime });
    await optimizer.applyGradients([[ones(4), weights]]);
    const heard = new Promise<void>((resolve) => {
      device().addEventListener("uncapturederror", (event) => {
        event.preventDefault();
        resolve();
      });
    });
    device().createBuffer({ size: 4, usage: 0 });
    await optimizer.applyGradients([[ones(4), weights]]);
    await heard;
    expect(runtime.placement().device?.kind).toBe("webgpu");
    expect(runtime.placement().reasons).toEqual([]);
  });

  // The last one: tfjs has no device any more after it.
  test("a lost device: everything that was done is on the host", async () => {
    const twin = new Twin(runtime, { learningRate: 0.1 });
    twin.add([50], new Random(1).values(50));
    await twin.step([{ dense: new Random(2).values(50) }]);
    const tensor = await twin.variables[0]!.tensor<Tensor>();
    const events: string[] = [];
    runtime.on("deviceChanged", ({ from, to }) => events.push(`${from} to ${to}`));
    device().destroy();
    await twin.step([{ dense: new Random(3).values(50) }]);
    twin.expectSame();
    expect(events).toEqual(["webgpu to cpu"]);
    expect(tensor.isDisposed).toBe(true);
    await expect(twin.variables[0]!.tensor()).rejects.toThrow("there is no device");
  });
});
