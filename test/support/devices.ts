import { Runtime } from "@shardgrad/core";
import { openCuda, openWebGpu } from "@shardgrad/gpu";
import { afterEach } from "vitest";
import { stubCuda } from "../gpu/stub-cuda.js";
import { onRealDriver } from "../gpu/stub-cuda-missing.js";
import { useSoftwareVulkan } from "./software-vulkan.js";
import type { TfBackend } from "./tfjs.js";

type Kernels = "wasm" | "native" | "auto";

/** Which kernels this run of the tests is about: the same tests run for WebAssembly and for native kernels. */
export const testedKernels = (process.env.SHARDGRAD_TEST_KERNELS ?? "auto") as Kernels;

/** Whether the package was built with native kernels for this machine. */
export const hasNativeKernels = new Runtime({ threads: 0 }).instructions !== "simd128";

/** The device that this run of the tests is about, beside the CPU; a software driver stands in for a GPU. */
export const testedDevice = (process.env.SHARDGRAD_TEST_DEVICE ?? "auto") as
  | "auto"
  | "webgpu"
  | "cuda"
  | "tfjs";
/** The application's tfjs in runs on the device tfjs. */
export const tf =
  testedDevice === "tfjs"
    ? await (await import("./tfjs.js")).tfWith(process.env.SHARDGRAD_TEST_TF as TfBackend)
    : undefined;
if (testedDevice === "webgpu") {
  const missing = useSoftwareVulkan();
  if (missing !== undefined) throw new Error(missing);
  process.env.SHARDGRAD_SOFTWARE_DEVICE = "1";
  // Keeps the device, and what is compiled for it, from one runtime to the next.
  await openWebGpu({ software: true });
}

/** Why runtimes went on without the GPU that the tests are about. */
const losses: string[] = [];
if (testedDevice === "cuda" && onRealDriver) {
  // Keeps the context, and what is compiled for it, from one runtime to the next.
  const opened = await openCuda();
  if (typeof opened === "string") throw new Error(opened);
  console.log(opened.description);
  // On the CPU all tests would pass.
  afterEach(() => {
    if (losses.length > 0) throw new Error(`The device was not used: ${losses.splice(0).join("; ")}`);
  });
} else if (testedDevice === "cuda") {
  const stub = stubCuda();
  if (typeof stub === "string") throw new Error(stub);
  process.env.SHARDGRAD_CUDA_LIBRARY = stub.path;
}

/** Inline and every pool size that must agree in every bit. With a device, threads compute only what cannot go there. */
export const threadCounts: readonly number[] = testedDevice === "auto" ? [0, 1, 2, 3, 4] : [0, 2];

/** WGSL lets a device take denormal numbers for zeros, and SwiftShader does; TensorFlow's kernels do. */
const backend = testedDevice === "tfjs" ? (process.env.SHARDGRAD_TEST_TF as TfBackend) : undefined;
export const keepsDenormals =
  testedDevice === "webgpu"
    ? process.env.SHARDGRAD_TEST_VULKAN === "lavapipe"
    : backend !== "tensorflow" && backend !== "webgpu";

/** tfjs adds the squares of a row in float32, where the CPU's kernels do it in float64. On its WebGPU device ours run. */
export const meansInFloat32 = testedDevice === "tfjs" && backend !== "webgpu";

export function deviceName(threads: number): string {
  const here = threads === 0 ? "inline" : `${threads} thread${threads === 1 ? "" : "s"}`;
  return testedDevice === "auto" ? here : `${testedDevice} and ${here}`;
}

/** A runtime whose pool takes every step, however small. */
export function pooled(
  threads: number,
  options: { arenaBytes?: number; maxQueue?: number; kernels?: Kernels } = {},
): Runtime {
  const runtime = new Runtime({
    threads,
    inlineThreshold: 0,
    kernels: testedKernels,
    device: testedDevice,
    ...(tf === undefined ? {} : { tf }),
    ...options,
  });
  if (testedDevice === "cuda" && onRealDriver) {
    runtime.on("deviceChanged", ({ to, reason }) => {
      if (to !== "cuda") losses.push(reason);
    });
  }
  return runtime;
}
