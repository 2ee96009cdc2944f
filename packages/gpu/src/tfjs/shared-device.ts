/// <reference types="@webgpu/types" />
import type { HostMemory } from "@shardgrad/workers";
import { GpuExecutor } from "../execute/executor.js";
import { SharedDevice } from "../webgpu/device.js";
import { limitMissing } from "../webgpu/limits.js";
import { SharingBackend, type TfWebGpuBackend } from "./sharing-backend.js";
import type { Tf } from "./tf.js";

/** With what is compiled for each device of tfjs: as long as tfjs has it. */
const devices = new WeakMap<GPUDevice, SharedDevice>();

/**
 * The WebGPU kernels of this package on the device of tfjs-backend-webgpu; why they cannot run there; or undefined for
 * another back end.
 */
export function openOnDeviceOf(tf: Tf, name: string, host: HostMemory): GpuExecutor | string | undefined {
  const backend = tf.backend();
  if (tf.getBackend() !== "webgpu" || !isWebGpu(backend)) return undefined;
  const { device } = backend;
  const missing = limitMissing(device.limits);
  if (missing !== undefined) return missing;
  const shared = devices.get(device) ?? new SharedDevice(device, infoOf(device));
  if (!shared.isOpen) return "it was lost";
  devices.set(device, shared);
  return new GpuExecutor(new SharingBackend(shared.acquire(), tf, backend, name), host);
}

function isWebGpu(backend: unknown): backend is TfWebGpuBackend {
  const { device, tensorMap, submitQueue, endComputePassEncoder } = backend as Partial<TfWebGpuBackend>;
  return (
    typeof device?.createComputePipeline === "function" &&
    typeof tensorMap?.get === "function" &&
    typeof submitQueue === "function" &&
    typeof endComputePassEncoder === "function"
  );
}

/** Of devices that do not say what they are, nothing. */
function infoOf(device: GPUDevice): GPUAdapterInfo {
  const unknown = { vendor: "", architecture: "", device: "", description: "", isFallbackAdapter: false };
  return device.adapterInfo ?? (unknown as GPUAdapterInfo);
}
