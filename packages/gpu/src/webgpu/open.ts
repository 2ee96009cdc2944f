/// <reference types="@webgpu/types" />
import { WebGpuBackend } from "./backend.js";

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

/** A back end, or why there is none in one line. */
export async function openWebGpu({
  software = false,
}: OpenWebGpuOptions = {}): Promise<WebGpuBackend | string> {
  try {
    gpu ??= ((await import("webgpu")) as unknown as WebGpuPackage).create([]);
  } catch (error) {
    return `WebGPU: the package "webgpu" could not be loaded: ${firstLine(error)}`;
  }
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (adapter === null) return "WebGPU: no adapter (a Vulkan loader and a driver are needed on Linux)";
    if (adapter.info.isFallbackAdapter && !software) {
      return `WebGPU: the only adapter is software (${adapter.info.description || adapter.info.device})`;
    }
    const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
    const device = await adapter.requestDevice({
      requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
    });
    return new WebGpuBackend(device, adapter.info);
  } catch (error) {
    return `WebGPU: the device could not be opened: ${firstLine(error)}`;
  }
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n", 1)[0]!;
}
