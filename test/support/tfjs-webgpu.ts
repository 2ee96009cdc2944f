import { useSoftwareVulkan } from "./software-vulkan.js";
import type { Tfjs } from "./tfjs.js";

/** What the npm package `webgpu` exports. */
interface WebGpuPackage {
  create(flags: readonly string[]): unknown;
  readonly globals: object;
}

/** Held for the life of the process: when it is collected while a device is used, the process aborts. */
let gpu: unknown;

/**
 * Gives tfjs its WebGPU back end, on the software driver. That back end is made for browsers: it looks for
 * `navigator.gpu` when it is loaded, and for the globals of WebGPU later.
 */
export async function registerWebGpu(tf: Tfjs): Promise<void> {
  const missing = useSoftwareVulkan();
  if (missing !== undefined) throw new Error(missing);
  const { create, globals } = (await import("webgpu")) as unknown as WebGpuPackage;
  gpu ??= create([]);
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
  await import("@tensorflow/tfjs-backend-webgpu");
  // Small tensors would be computed on the processor otherwise.
  tf.env().set("WEBGPU_CPU_FORWARD", false);
}
