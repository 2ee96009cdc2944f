import { Runtime } from "@shardgrad/core";

type Kernels = "wasm" | "native" | "auto";

/** Which kernels this run of the tests is about: the same tests run for WebAssembly and for native kernels. */
export const testedKernels = (process.env.SHARDGRAD_TEST_KERNELS ?? "auto") as Kernels;

/** Whether the package was built with native kernels for this machine. */
export const hasNativeKernels = new Runtime({ threads: 0 }).instructions !== "simd128";

/** Inline and every pool size that must agree in every bit. */
export const threadCounts = [0, 1, 2, 3, 4] as const;

export function deviceName(threads: number): string {
  return threads === 0 ? "inline" : `${threads} thread${threads === 1 ? "" : "s"}`;
}

/** A runtime whose pool takes every step, however small. */
export function pooled(
  threads: number,
  options: { arenaBytes?: number; maxQueue?: number; kernels?: Kernels } = {},
): Runtime {
  return new Runtime({ threads, inlineThreshold: 0, kernels: testedKernels, ...options });
}
