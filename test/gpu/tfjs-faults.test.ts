import { Runtime } from "@shardgrad/core";
import { beforeAll, describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import type { ReferenceGradient } from "../support/reference.js";
import { type Tfjs, tfWith } from "../support/tfjs.js";
import { Twin } from "../support/twin.js";

let tf: Tfjs;
beforeAll(async () => {
  // Without the module that it has within itself, which would be taken in place of a broken one.
  tf = { ...(await tfWith("cpu")), default: undefined } as unknown as Tfjs;
});

/** Opens a runtime on a tfjs; what it says of its devices. */
async function opened(given: object | undefined) {
  const runtime = new Runtime({ device: "tfjs", threads: 0, ...(given === undefined ? {} : { tf: given }) });
  const events: string[] = [];
  runtime.on("deviceLost", ({ reason }) => events.push(`lost: ${reason}`));
  runtime.on("deviceChanged", ({ from, to, reason }) => events.push(`${from} to ${to}: ${reason}`));
  await runtime.ready();
  return { runtime, events };
}

describe("a tfjs that cannot be used: a line says why, and the CPU computes", () => {
  const refused: Record<string, [given: () => object | undefined, reason: string]> = {
    "none at all": [() => undefined, "no `tf` was handed over"],
    "something else": [() => ({ add: () => 1 }), "is not tfjs 4, or is incomplete: it has no ready"],
    "one without an op": [() => ({ ...tf, scatterND: undefined }), "it has no scatterND"],
    "one without a back end": [
      () => ({
        ...tf,
        ready: () => Promise.reject(new Error("Could not initialize any backends")),
      }),
      "does not work: Could not initialize any backends",
    ],
    "tfjs-node on a Node that lacks what it uses": [
      () => ({
        ...tf,
        tensor: () => {
          throw new TypeError("(0 , util_1.isNullOrUndefined) is not a function");
        },
      }),
      "before importing it, `util.isNullOrUndefined ??= (v) => v == null",
    ],
    "a back end without a kernel": [
      () => ({
        ...tf,
        tensorScatterUpdate: () => {
          throw new Error("Kernel 'TensorScatterUpdate' not registered for backend 'cpu'\nmore");
        },
      }),
      "does not work: Kernel 'TensorScatterUpdate' not registered for backend 'cpu'",
    ],
    "half precision": [
      () => ({ ...tf, add: (a: never, b: never) => tf.round(tf.add(a, b)) }),
      'its back end "cpu" computes in less than float32',
    ],
    "one that computes wrong": [
      () => ({ ...tf, sqrt: (x: never) => tf.mul(x, 1) }),
      'its back end "cpu" computes wrong',
    ],
  };

  test.each(Object.keys(refused))("%s", async (what) => {
    const [given, reason] = refused[what]!;
    const before = tf.memory().numTensors;
    const { runtime, events } = await opened(given());
    expect(events).toEqual([expect.stringMatching(/^tfjs to cpu: tfjs: /)]);
    expect(events[0]).toContain(reason);
    expect(events[0]).not.toContain("\n");
    expect(tf.memory().numTensors, "nothing is left of the trial").toBe(before);
    const twin = new Twin(runtime, {});
    twin.add([3], [1, 2, 3]);
    await twin.step([{ dense: [1, 1, 1] }]);
    twin.expectSame();
    await runtime.close();
  });

  test("what is no module is refused at once", () => {
    // @ts-expect-error: not a module
    expect(() => new Runtime({ device: "tfjs", tf: "tfjs" })).toThrow("the tfjs module");
  });

  test("a module within a module, as CommonJS comes, is taken", async () => {
    const { runtime, events } = await opened({ default: tf });
    expect(events).toEqual(['cpu to tfjs: tfjs with its back end "cpu"']);
    await runtime.close();
  });
});

/** A tfjs whose ops can be made to fail: all functions that make tensors count. */
function failing() {
  const state = { calls: 0, failAt: Number.POSITIVE_INFINITY };
  const names = [
    "tensor",
    "add",
    "mul",
    "div",
    "sqrt",
    "sub",
    "reshape",
    "scatterND",
    "gather",
    "slice",
  ] as const;
  const ops = names.map((name) => [
    name,
    (...values: unknown[]) => {
      if (++state.calls >= state.failAt) throw new Error(`${name} failed`);
      return (tf[name] as (...values: unknown[]) => unknown)(...values);
    },
  ]);
  return { tf: { ...tf, ...Object.fromEntries(ops) }, state };
}

function twinOn(runtime: Runtime) {
  const random = new Random(3);
  const twin = new Twin(runtime, { learningRate: 0.1, useEma: true, emaOverwriteFrequency: 2, clipnorm: 1 });
  twin.add([20, 3], random.values(60));
  twin.add([50], random.values(50));
  const step = async (mode: "async" | "sync") => {
    const gradients: ReferenceGradient[] = [
      { indices: random.indices(9, 20, false), values: Float64Array.from(random.values(27), Math.fround) },
      { dense: Float64Array.from(random.values(50), Math.fround) },
    ];
    twin.reference.step(gradients.map((gradient, i) => [gradient, twin.oracles[i]!]));
    const pairs = gradients.map((gradient, i) => {
      const { indices, values } = gradient as { indices: number[]; values: Float64Array };
      const given =
        "dense" in gradient
          ? Float32Array.from(gradient.dense)
          : { indices, values: Float32Array.from(values) };
      return [given, twin.variables[i]!] as const;
    });
    if (mode === "sync") twin.optimizer.applyGradientsSync(pairs);
    else await twin.optimizer.applyGradients(pairs);
  };
  return { twin, step };
}

// Clipping by a norm: the reference adds in another order.
const close = { rtol: 1e-5, atol: 2e-6 };

describe.each(["async", "sync"] as const)("an op that throws in the middle of training, %s steps", (mode) => {
  test("at any call: nothing is lost, and training goes on on the CPU", async () => {
    const before = tf.memory().numTensors;
    for (let at = 1; ; at += 7) {
      const { tf: given, state } = failing();
      const { runtime, events } = await opened(given);
      const { twin, step } = twinOn(runtime);
      for (let s = 0; s < 3; s++) await step(s === 0 ? "async" : mode);
      state.failAt = state.calls + at;
      await step(mode);
      const failed = state.calls >= state.failAt;
      state.failAt = Number.POSITIVE_INFINITY;
      await step(mode);
      await runtime.synchronize();
      twin.expectClose(close, `call ${at}`);
      await runtime.close();
      expect(tf.memory().numTensors, "no tensors are left").toBe(before);
      if (!failed) {
        expect(at).toBeGreaterThan(20);
        expect(events).toHaveLength(1);
        return;
      }
      expect(events.slice(1)).toEqual([
        expect.stringMatching(/^lost: \w+ failed$/),
        expect.stringMatching(/^tfjs to cpu: \w+ failed$/),
      ]);
    }
  });
});

test("values that cannot be read back: the host has them from its journal", async () => {
  const { runtime, events } = await opened(tf);
  const { twin, step } = twinOn(runtime);
  for (let s = 0; s < 3; s++) await step("async");
  // What clearing the engine does to all tensors in it.
  const engine = tf.engine();
  const backend = engine.backend as { read: unknown };
  const { read } = backend;
  backend.read = () => Promise.reject(new Error("context lost"));
  try {
    await runtime.synchronize();
  } finally {
    backend.read = read;
  }
  twin.expectClose(close);
  expect(events.slice(1)).toEqual(["lost: context lost", "tfjs to cpu: context lost"]);
  await runtime.close();
});

test("the loss of a WebGPU device that tfjs has is heard of", async () => {
  let lose: (info: { message: string }) => void = () => {};
  const lost = new Promise((resolve) => {
    lose = resolve;
  });
  const { runtime, events } = await opened({ ...tf, backend: () => ({ device: { lost } }) });
  const { twin, step } = twinOn(runtime);
  for (let s = 0; s < 2; s++) await step("async");
  lose({ message: "pulled out" });
  await new Promise(setImmediate);
  expect(events.slice(1)).toEqual(["lost: pulled out", "tfjs to cpu: pulled out"]);
  twin.expectClose(close);
  await step("async");
  twin.expectClose(close);
  await runtime.close();
});
