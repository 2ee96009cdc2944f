import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { runInChild } from "../support/child.js";
import { softwareDriver, softwareVulkanMissing } from "../support/software-vulkan.js";

const missing = softwareVulkanMissing();

/** Trains once on the software device, in a process of its own; `more` comes after it. */
function training(more = ""): string {
  const folder = softwareDriver();
  return `
    import { createRequire } from "node:module";
    process.env.VK_ICD_FILENAMES = ${JSON.stringify(join(folder, "vk_swiftshader_icd.json"))};
    process.env.SHARDGRAD_SOFTWARE_DEVICE = "1";
    // Held, or it is unloaded again before it is needed.
    globalThis.loader = createRequire(import.meta.url)("koffi").load(${JSON.stringify(join(folder, "libvulkan.so.1"))});
    const { Adagrad, Runtime, Variable } = await import("@shardgrad/core");
    const runtime = new Runtime({ device: "webgpu", threads: 2, inlineThreshold: 0 });
    await runtime.ready();
    const weights = Variable.ones([5000], { runtime });
    const here = Variable.ones([5000], { runtime, device: "cpu" });
    const optimizer = new Adagrad({ learningRate: 1, runtime });
    const gradient = new Float32Array(5000).fill(1);
    await optimizer.applyGradients([[gradient, weights], [gradient, here]]);
    ${more}
    console.log((await weights.read())[4999] === here.data[4999]);
  `;
}

describe.skipIf(missing !== undefined)(`processes with a device${missing ? ` (${missing})` : ""}`, () => {
  test("end by themselves, threads and device open", async () => {
    expect(await runInChild(training())).toEqual({ code: 0, signal: null, output: "true\n", errors: "" });
  });

  test("end by themselves when closed", async () => {
    const more = "await runtime.close();";
    expect(await runInChild(training(more))).toMatchObject({ code: 0, signal: null, output: "true\n" });
  });

  test("end by themselves when the device was lost", async () => {
    const more = `
      runtime.on("deviceLost", ({ reason }) => console.log(reason));
      optimizer.applyGradientsSync([[gradient, weights], [gradient, here]]);
      await (await import("@shardgrad/gpu")).debugLoseWebGpu();
      await optimizer.applyGradients([[gradient, weights], [gradient, here]]);
    `;
    const { code, signal, output } = await runInChild(training(more));
    expect([code, signal]).toEqual([0, null]);
    expect(output).toMatch(/^.*\ntrue\n$/);
  });

  test("software devices are not taken by themselves, and a machine without a driver says so", async () => {
    const looking = (prepare: string) => `
      delete process.env.SHARDGRAD_SOFTWARE_DEVICE;
      ${prepare}
      const { Runtime } = await import("@shardgrad/core");
      const runtime = new Runtime({ device: "webgpu", threads: 0 });
      runtime.on("deviceChanged", () => {});
      await runtime.ready();
      console.log(runtime.placement().reasons.join());
    `;
    const withDriver = training().split("process.env.SHARDGRAD_SOFTWARE_DEVICE")[0]!;
    const folder = JSON.stringify(join(softwareDriver(), "libvulkan.so.1"));
    const load = `${withDriver} globalThis.loader = createRequire(import.meta.url)("koffi").load(${folder});`;
    const software = await runInChild(looking(load));
    expect(software.output).toBe("WebGPU: the only adapter is software (SwiftShader driver 5.0.0)\n");
    const none = await runInChild(
      looking(`process.env.VK_ICD_FILENAMES = ""; process.env.VK_DRIVER_FILES = "";`),
    );
    expect(none).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^WebGPU: no (Vulkan loader|adapter)/),
    });
  });

  test.each([
    ["no adapter", "GPU.prototype.requestAdapter = async () => null", /^WebGPU: no adapter \(/],
    [
      "a device that is refused",
      `GPUAdapter.prototype.requestDevice = () => Promise.reject(new Error("too many\\nof them"))`,
      /^WebGPU: the device could not be opened: too many$/,
    ],
  ])("%s: one line that says so", async (_, prepare, expected) => {
    const source = `${training().split("const { Adagrad")[0]!}
      const { globals } = createRequire(import.meta.url)("webgpu");
      const { GPU, GPUAdapter } = globals;
      ${prepare};
      const { Runtime } = await import("@shardgrad/core");
      const runtime = new Runtime({ device: "webgpu", threads: 0 });
      runtime.on("deviceChanged", ({ from, to, reason }) => console.log(from, to, reason));
      await runtime.ready();
      await runtime.close();
    `;
    const { code, output, errors } = await runInChild(source);
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    expect(output.trimEnd()).toMatch(/^webgpu cpu WebGPU: .*$/);
    expect(output.trimEnd().slice("webgpu cpu ".length)).toMatch(expected);
  });
});
