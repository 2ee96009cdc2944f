import { Adagrad, type GradientPair, type Runtime, Variable } from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import type { ReferenceGradient } from "../support/reference.js";
import { Twin } from "../support/twin.js";
import { missing, type TroubledBackend, troubledRuntime } from "./software-device.js";

/** What a runtime says of its devices. */
function said(runtime: Runtime): string[] {
  const events: string[] = [];
  runtime.on("deviceLost", ({ reason }) => events.push(`lost: ${reason}`));
  runtime.on("deviceChanged", ({ from, to }) => events.push(`${from} to ${to}`));
  return events;
}

const tables = [[60, 5], [4097], []] as const;

/** Dense and sparse variables with averages, clipping by value: everything bit for bit. */
function twinOn(runtime: Runtime): { twin: Twin; step: (mode?: "async" | "sync") => Promise<void> } {
  const random = new Random(11);
  const twin = new Twin(runtime, {
    learningRate: 0.1,
    useEma: true,
    emaOverwriteFrequency: 3,
    clipvalue: 1.5,
  });
  for (const shape of tables) twin.add(shape, random.values(shape.reduce((a: number, b) => a * b, 1)));
  const step = async (mode: "async" | "sync" = "async") => {
    const gradients: ReferenceGradient[] = [
      { indices: random.indices(30, 60, false), values: random.values(150) },
      { dense: random.values(4097) },
      { dense: random.values(1) },
    ];
    twin.reference.step(gradients.map((gradient, i) => [rounded(gradient), twin.oracles[i]!]));
    const pairs = gradients.map((gradient, i): GradientPair => {
      const g = rounded(gradient);
      const variable = twin.variables[i]!;
      if ("dense" in g) return [Float32Array.from(g.dense), variable];
      return [{ indices: Array.from(g.indices), values: Float32Array.from(g.values) }, variable];
    });
    if (mode === "sync") twin.optimizer.applyGradientsSync(pairs);
    else await twin.optimizer.applyGradients(pairs);
  };
  return { twin, step };
}

function rounded(gradient: ReferenceGradient): ReferenceGradient {
  if ("dense" in gradient) return { dense: Float64Array.from(gradient.dense, Math.fround) };
  return { indices: gradient.indices, values: Float64Array.from(gradient.values, Math.fround) };
}

const moments: Record<string, (backend: TroubledBackend) => void> = {
  "between two steps": (backend) => backend.lose("pulled out"),
  "between two steps, nobody told": (backend) => backend.lose("pulled out", true),
  "while it launches": (backend) => {
    backend.before = (what) => what === "launch" && backend.lose("pulled out", true);
  },
  "while the step runs": (backend) => {
    backend.before = (what) => what === "finished" && backend.lose("pulled out", true);
  },
};

describe.skipIf(missing !== undefined)(`faults of a device${missing ? ` (${missing})` : ""}`, () => {
  describe.each(["async", "sync"] as const)("a device that is lost, %s steps", (mode) => {
    test.each(Object.keys(moments))("%s: nothing is lost, steps go on on the CPU", async (moment) => {
      const { runtime, backend } = await troubledRuntime();
      const events = said(runtime);
      const { twin, step } = twinOn(runtime);
      for (let s = 0; s < 3; s++) await step(s === 0 ? "async" : mode);
      moments[moment]!(backend);
      await step(mode);
      backend.before = () => {};
      await step(mode);
      await runtime.synchronize();
      await new Promise(setImmediate);
      twin.expectSame(moment);
      await step(mode);
      twin.expectSame(`${moment}, later`);
      expect(events).toEqual(["cpu to webgpu", "lost: pulled out", "webgpu to cpu"]);
      expect(runtime.placement()).toMatchObject({
        device: null,
        reasons: [expect.stringContaining("pulled out")],
      });
      await runtime.close();
    });
  });

  test("a device that is lost while values come home", async () => {
    const { runtime, backend } = await troubledRuntime();
    const { twin, step } = twinOn(runtime);
    for (let s = 0; s < 3; s++) await step();
    let downloads = 0;
    backend.before = (what) => {
      if (what === "download" && ++downloads === 4) backend.lose("pulled out", true);
    };
    await runtime.synchronize();
    twin.expectSame();
    expect(runtime.placement().device).toBeNull();
    await runtime.close();
  });

  test("a device that is lost while a variable is read", async () => {
    const { runtime, backend } = await troubledRuntime();
    const { twin, step } = twinOn(runtime);
    for (let s = 0; s < 2; s++) await step();
    backend.lose("pulled out", true);
    expect(Array.from(await twin.variables[1]!.read())).toEqual(Array.from(twin.oracles[1]!.values));
    twin.expectSame();
    await runtime.close();
  });

  test.each(["async", "sync"] as const)("a global norm is found again after a loss, %s", async (mode) => {
    const { runtime, backend } = await troubledRuntime();
    const weights = Variable.ones([3000], { runtime });
    const optimizer = new Adagrad({ learningRate: 1, globalClipnorm: 0.5, runtime });
    const same = Variable.ones([3000], { runtime, device: "cpu" });
    const reference = new Adagrad({ learningRate: 1, globalClipnorm: 0.5, runtime });
    const norms: (number | undefined)[] = [];
    optimizer.on("iteration", ({ globalNorm }) => norms.push(globalNorm));
    reference.on("iteration", ({ globalNorm }) => norms.push(globalNorm));
    const random = new Random(3);
    for (let s = 0; s < 3; s++) {
      const gradient = Float32Array.from(random.values(3000));
      if (s === 2) backend.lose("pulled out", true);
      if (mode === "async" || s === 0) await optimizer.applyGradients([[gradient, weights]]);
      else optimizer.applyGradientsSync([[gradient, weights]]);
      await reference.applyGradients([[gradient, same]]);
    }
    await runtime.synchronize();
    expect(weights.data).toEqual(same.data);
    expect(norms.filter((_, i) => i % 2 === 0)).toEqual(norms.filter((_, i) => i % 2 === 1));
    await runtime.close();
  });

  test("variables for which there is no room stay on the CPU, in the same steps", async () => {
    const { runtime } = await troubledRuntime({ bindingBytes: 8 << 20, totalBytes: 40 << 20 });
    const twin = new Twin(runtime, { learningRate: 0.1 });
    const random = new Random(4);
    for (const size of [3_000_000, 100, 1_200_000]) twin.add([size], random.values(size));
    const devices: string[] = [];
    twin.optimizer.on("iteration", ({ device }) => devices.push(device));
    for (let s = 0; s < 2; s++) {
      await twin.step(twin.oracles.map(({ values }) => ({ dense: random.values(values.length) })));
      twin.expectSame(`step ${s}`);
    }
    expect(devices).toEqual(["hybrid", "hybrid"]);
    expect(
      runtime.placement().variables.map(({ name, device, reason }) => `${name} ${device}: ${reason}`),
    ).toEqual([
      "v0 cpu: the device has no room for it",
      "v1 gpu: the runtime's `device` option",
      "v2 gpu: the runtime's `device` option",
    ]);
    await runtime.close();
  });
});
