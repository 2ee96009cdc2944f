import { Runtime } from "@shardgrad/core";
import { describe } from "vitest";
import { softwareVulkanMissing } from "./software-vulkan.js";
import { type Tfjs, tfWith } from "./tfjs.js";

const missing = softwareVulkanMissing();

/** Tests that need tfjs-backend-webgpu, on SwiftShader; left out, with the reason in the title, where that is missing. */
export function describeOnTfjsWebGpu(title: string, tests: () => void): void {
  describe.skipIf(missing !== undefined)(`${title}${missing ? ` (${missing})` : ""}`, tests);
}

/** tfjs on that back end, and a runtime on its device. */
export async function openTfjsWebGpu(): Promise<{ readonly tf: Tfjs; readonly runtime: Runtime }> {
  const tf = await tfWith("webgpu");
  const runtime = new Runtime({ device: "tfjs", tf, threads: 0 });
  await runtime.ready();
  return { tf, runtime };
}
