/// <reference types="@webgpu/types" />
import { WebGpuBackend } from "./backend.js";
import { SharedDevice } from "./device.js";
import { loaderMissing } from "./vulkan-loader.js";

/** The options of {@link openWebGpu}. */
export interface OpenWebGpuOptions {
  /** Takes adapters that are software too. */
  readonly software?: boolean;
}

/** What the npm package `webgpu` exports. */
interface WebGpuPackage {
  create(flags: readonly string[]): GPU;
}

/**
 * Held for the life of the process: when it is collected while a device is used, the process aborts (webgpu 0.6.2).
 */
let gpu: GPU | undefined;
let shared: Promise<SharedDevice | string> | undefined;

/**
 * A WebGPU back end; or why there is none, in one line. Never rejects. Runtimes open it by themselves (`device: "webgpu"`):
 * this tells what they would find.
 * @example
 * import { openWebGpu } from "@shardgrad/gpu";
 * const webgpu = await openWebGpu();
 * console.log(typeof webgpu === "string" ? `no WebGPU because of ${webgpu}` : webgpu.description);
 * if (typeof webgpu !== "string") await webgpu.close();
 */
export async function openWebGpu({
  software = false,
}: OpenWebGpuOptions = {}): Promise<WebGpuBackend | string> {
  const opened = await sharedDevice();
  if (typeof opened === "string") return opened;
  if (opened.info.isFallbackAdapter && !software) {
    opened.acquire().release();
    return `WebGPU: the only adapter is software (${opened.info.description || opened.info.device})`;
  }
  return new WebGpuBackend(opened.acquire());
}

/** The device that is open, or a new one: never two, however many ask at a time. */
async function sharedDevice(): Promise<SharedDevice | string> {
  for (;;) {
    const asked = shared ?? openDevice();
    shared = asked;
    const opened = await asked;
    if (typeof opened === "object" && opened.isOpen) return opened;
    if (shared === asked) shared = undefined;
    if (typeof opened === "string") return opened;
  }
}

/**
 * Loses the open device as a fault of its driver would, so that an application can test what it does then. Nothing where
 * none is open.
 * @example
 * import { Runtime } from "@shardgrad/core";
 * import { debugLoseWebGpu } from "@shardgrad/gpu";
 * const runtime = new Runtime({ device: "webgpu" });
 * // Why there is none, or that it was lost:
 * runtime.on("deviceChanged", ({ reason }) => console.log(reason));
 * await runtime.ready();
 * await debugLoseWebGpu();
 * await runtime.close();
 */
export async function debugLoseWebGpu(): Promise<void> {
  const opened = await shared;
  if (typeof opened === "object") opened.device.destroy();
}

async function openDevice(): Promise<SharedDevice | string> {
  const missing = loaderMissing();
  if (missing !== undefined) return `WebGPU: ${missing}`;
  try {
    gpu ??= ((await import("webgpu")) as unknown as WebGpuPackage).create([]);
  } catch (error) {
    return `WebGPU: the package "webgpu" could not be loaded: ${firstLine(error)}`;
  }
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (adapter === null) return "WebGPU: no adapter (on Linux, a Vulkan loader and a driver are needed)";
    const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
    const device = await adapter.requestDevice({
      requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
    });
    return new SharedDevice(device, adapter.info, adapter);
  } catch (error) {
    return `WebGPU: the device could not be opened: ${firstLine(error)}`;
  }
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n", 1)[0]!;
}
