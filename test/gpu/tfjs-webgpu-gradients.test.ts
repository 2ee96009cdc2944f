import { Adagrad, GradientReadError, Runtime, Variable } from "@shardgrad/core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import { softwareVulkanMissing } from "../support/software-vulkan.js";
import { expectSameBits } from "../support/state.js";
import { type Tfjs, tfWith } from "../support/tfjs.js";
import { type Form, Twin } from "../support/twin.js";

type Tensor = ReturnType<Tfjs["tensor"]>;

const missing = softwareVulkanMissing();

/** The package tfjs has them; tfjs-core alone does not. */
function registerGradients(tf: Tfjs): void {
  const { matMul, mul, onesLike, reshape } = tf as never as Record<string, (...of: unknown[]) => Tensor>;
  const register = (
    kernelName: string,
    inputsToSave: string[],
    gradFunc: (dy: Tensor, saved: Tensor[]) => Record<string, () => Tensor>,
  ) => tf.registerGradient({ kernelName, inputsToSave, gradFunc } as never);
  register("BatchMatMul", ["a", "b"], (dy, [a, b]) => ({
    a: () => matMul!(dy, b, false, true),
    b: () => matMul!(a, dy, true, false),
  }));
  register("Square", ["x"], (dy, [x]) => ({ x: () => mul!(dy, mul!(x, 2)) }));
  register("Sum", ["x"], (dy, [x]) => ({ x: () => mul!(reshape!(dy, [1, 1]), onesLike!(x)) }));
}

describe.skipIf(missing !== undefined)(
  `gradients on the device of tfjs-backend-webgpu${missing ? ` (${missing})` : ""}`,
  () => {
    let tf: Tfjs;
    let runtime: Runtime;
    beforeAll(async () => {
      tf = await tfWith("webgpu");
      runtime = new Runtime({ device: "tfjs", tf, threads: 0 });
      await runtime.ready();
    });
    afterAll(() => runtime.close());

    const device = () => (tf.backend() as unknown as { device: GPUDevice }).device;
    const ones = (count: number) => new Float32Array(count).fill(1);
    const made: Tensor[] = [];
    afterEach(() => tf.dispose(made.splice(0)));
    /** A result of tfjs: on the device only. */
    const computed = (values: ArrayLike<number>, shape: readonly number[]): Tensor => {
      const tensor = tf.tidy(() => tf.mul(tf.tensor(Float32Array.from(values), [...shape]), 1));
      made.push(tensor);
      return tensor;
    };
    const form: Form = (values, _, shape) => computed(values, shape);

    /** Bytes that go up, and that are copied on the device, while something is done. */
    async function traffic(act: () => Promise<void>): Promise<{ up: number[]; across: number[] }> {
      const [up, across]: [number[], number[]] = [[], []];
      const { queue } = device();
      const encoders = Object.getPrototypeOf(device().createCommandEncoder());
      const { writeBuffer } = queue;
      const { copyBufferToBuffer } = encoders;
      queue.writeBuffer = function watched(...args: Parameters<GPUQueue["writeBuffer"]>) {
        up.push(args[4] ?? (args[2] as Uint8Array).byteLength);
        return writeBuffer.apply(this, args);
      };
      encoders.copyBufferToBuffer = function watched(
        ...args: Parameters<GPUCommandEncoder["copyBufferToBuffer"]>
      ) {
        across.push(args.at(-1) as number);
        return copyBufferToBuffer.apply(this, args);
      };
      try {
        await act();
      } finally {
        queue.writeBuffer = writeBuffer;
        encoders.copyBufferToBuffer = copyBufferToBuffer;
      }
      return { up, across };
    }

    test.each([
      ["one small", [[1000]], {}],
      ["one large", [[20_000]], {}],
      ["several, in one buffer", [[1000], [70, 30], []], {}],
      ["with a norm over all", [[1000], [20_000], [90, 5]], { globalClipnorm: 0.5 }],
    ] as const)("%s: copied there, nothing goes up but numbers", async (_, shapes, options) => {
      const random = new Random(5);
      const twin = new Twin(runtime, { learningRate: 0.1, ...options });
      const sizes = shapes.map((shape) => shape.reduce((a: number, b: number) => a * b, 1));
      shapes.forEach((shape, i) => void twin.add(shape, random.values(sizes[i]!)));
      const gradients = () => sizes.map((size) => ({ dense: random.values(size) }));
      // As of the third step of a kind nothing is laid out.
      for (let s = 0; s < 3; s++) await twin.step(gradients(), { form });
      const given = gradients();
      twin.reference.step(
        given.map(({ dense }, i) => [{ dense: Float64Array.from(dense, Math.fround) }, twin.oracles[i]!]),
      );
      const tensors = given.map(({ dense }, i) => computed(dense, shapes[i]!));
      // tfjs brings its own up.
      await Promise.all(tensors.map((tensor) => tensor.data()));
      const { up, across } = await traffic(() =>
        twin.optimizer.applyGradients(tensors.map((tensor, i) => [tensor, twin.variables[i]!])),
      );
      expect(Math.max(...up), "the scalars of the launches").toBeLessThanOrEqual(3 * 256);
      // A norm comes down, too.
      expect(across.slice(0, sizes.length)).toEqual(sizes.map((size) => size * 4));
      await runtime.synchronize();
      if ("globalClipnorm" in options) twin.expectClose({ rtol: 1e-5, atol: 2e-6 });
      else twin.expectSame();
      twin.dispose();
    });

    test("beside arrays, and slices with row numbers of either kind", async () => {
      const random = new Random(6);
      const twin = new Twin(runtime, { learningRate: 0.1, useEma: true });
      for (const [shape, size] of [
        [[40, 7], 280],
        [[300], 300],
        [[60], 60],
      ] as const) {
        twin.add(shape, random.values(size));
      }
      const mixed: Form = (values, _, shape) =>
        shape[0] === 300 ? Float32Array.from(values) : computed(values, shape);
      for (let s = 0; s < 4; s++) {
        const rowNumbers = (rows: readonly number[]) => {
          if (s % 2 === 0) return rows;
          made.push(tf.tensor1d([...rows], "int32"));
          return made.at(-1);
        };
        await twin.step(
          [
            { indices: random.indices(9, 40, false), values: random.values(63) },
            { dense: random.values(300) },
            { dense: random.values(60) },
          ],
          { form: mixed, rowNumbers },
        );
        twin.expectSame(`step ${s}`);
      }
      twin.dispose();
    });

    test("of variables that lie in pieces there", async () => {
      const bindingBytes = 64 << 10;
      const limits = new Proxy(device().limits, {
        get: (real, name) =>
          name === "maxStorageBufferBindingSize" ? bindingBytes : Reflect.get(real, name, real),
      });
      const whole = Object.getOwnPropertyDescriptor(device(), "limits")!;
      Object.defineProperty(device(), "limits", { value: limits, configurable: true });
      const own = new Runtime({ device: "tfjs", tf, threads: 0 });
      await own.ready();
      Object.defineProperty(device(), "limits", whole);
      expect(own.placement().device?.kind).toBe("webgpu");
      const random = new Random(7);
      const size = 40_000;
      const twin = new Twin(own, { learningRate: 0.1 });
      twin.add([size], random.values(size));
      for (let s = 0; s < 2; s++) await twin.step([{ dense: random.values(size) }], { form });
      const gradient = computed(ones(size), [size]);
      await gradient.data();
      const { across } = await traffic(() => twin.step([{ dense: ones(size) }], { form: () => gradient }));
      expect(across.slice(0, 3), "three pieces").toEqual([
        bindingBytes,
        bindingBytes,
        4 * size - 2 * bindingBytes,
      ]);
      twin.expectSame();
      await own.close();
    });

    test("over the memory of a variable, which steps change: with the values of the call", async () => {
      const options = { learningRate: 1, initialAccumulatorValue: 0, epsilon: 1e-30, runtime } as const;
      const weights = new Variable(new Float32Array(8).fill(3), { runtime });
      const other = Variable.zeros([8], { runtime });
      const w = await weights.tensor<Tensor>();
      made.push(w);
      const [first, second] = [new Adagrad(options), new Adagrad(options)];
      await first.applyGradients([[new Float32Array(8), weights]]);
      await second.applyGradients([[new Float32Array(8), other]]);
      // The first is not done when the second is called, and its own call comes after that of the third.
      const running = [first.applyGradients([[ones(8), weights]]), second.applyGradients([[w, other]])];
      await Promise.all(running);
      expect(Array.from(await weights.read())).toEqual(Array(8).fill(2));
      // An accumulator of 9: it was 3.
      expect(Array.from(await second.accumulators[0]!.read())).toEqual(Array(8).fill(9));
      expect(Array.from(await w.data()), "tfjs did not keep what was read for the step").toEqual(
        Array(8).fill(2),
      );
    });

    test("what tfjs has recorded and not submitted is done before", async () => {
      const twin = new Twin(runtime, { learningRate: 0.5 });
      twin.add([64], new Random(8).values(64));
      await twin.step([{ dense: ones(64) }]);
      const recorded: Form = (values) => {
        const sum = tf.tidy(() => tf.add(tf.tensor1d(Float32Array.from(values)), tf.zeros([64])));
        made.push(sum);
        return sum;
      };
      for (let s = 0; s < 3; s++) await twin.step([{ dense: new Random(s).values(64) }], { form: recorded });
      twin.expectSame();
      twin.dispose();
    });

    test("training without a way through the host: the loop of docs/tfjs.md", async () => {
      const cpu = new Runtime({ device: "cpu", threads: 0 });
      registerGradients(tf);
      const x = computed(new Random(6).values(12), [4, 3]);
      const loss = (first: Tensor, second: Tensor) => {
        const hidden = tf.matMul(x as never, first as never);
        return tf.sum(tf.square(tf.matMul(hidden, second as never))) as never;
      };
      const start = [new Random(5).values(6), new Random(9).values(4)];
      const shapes = [
        [3, 2],
        [2, 2],
      ];
      const [there, here] = [runtime, cpu].map((on) => {
        const variables = start.map(
          (values, i) => new Variable(Float32Array.from(values), { shape: shapes[i]!, runtime: on }),
        );
        return { variables, optimizer: new Adagrad({ learningRate: 0.5, runtime: on }) };
      }) as [{ variables: Variable[]; optimizer: Adagrad }, { variables: Variable[]; optimizer: Adagrad }];
      const before = tf.memory().numTensors;
      for (let s = 0; s < 5; s++) {
        const values = await Promise.all(there.variables.map((variable) => variable.tensor<Tensor>()));
        const { value, grads } = tf.valueAndGrads(loss)(values);
        const arrays = await Promise.all(grads.map((gradient) => gradient.data()));
        const step = there.optimizer.applyGradients(
          grads.map((gradient, i) => [gradient, there.variables[i]!]),
        );
        tf.dispose([values, value, grads] as never);
        await step;
        await here.optimizer.applyGradients(
          arrays.map((gradient, i) => [gradient as Float32Array, here.variables[i]!]),
        );
      }
      expect(tf.memory().numTensors).toBe(before);
      for (const [i, variable] of there.variables.entries()) {
        expectSameBits(await variable.read(), here.variables[i]!.data, variable.name);
      }
      await cpu.close();
    });

    // The last one: tfjs has no device any more after it.
    test("the device is lost while the values are on their way: the step has not happened", async () => {
      const twin = new Twin(runtime, { learningRate: 0.1, useEma: true });
      twin.add([50], new Random(1).values(50));
      for (let s = 0; s < 3; s++) await twin.step([{ dense: new Random(s).values(50) }], { form });
      const gradient = computed(new Random(9).values(50), [50]);
      // When the step was launched, its gradient copied there, and before the values are mapped, it goes.
      const buffers = Object.getPrototypeOf(device().createBuffer({ size: 4, usage: 1 }));
      const { mapAsync } = buffers;
      let step: Promise<void> = Promise.resolve();
      const { across } = await traffic(async () => {
        buffers.mapAsync = async function lost(...args: Parameters<GPUBuffer["mapAsync"]>) {
          for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
          device().destroy();
          return mapAsync.apply(this, args);
        };
        step = twin.optimizer.applyGradients([[gradient, twin.variables[0]!]]);
        await expect(step).rejects.toThrow(GradientReadError);
      });
      buffers.mapAsync = mapAsync;
      expect(across, "to come down, and to the step").toEqual([200, 200]);
      expect(runtime.placement().device).toBe(null);
      twin.expectSame("as before the step");
      await twin.step([{ dense: new Random(9).values(50) }]);
      twin.expectSame("with an array, on the CPU");
    });
  },
);
