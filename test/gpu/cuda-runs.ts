import { type CudaBackend, openCuda } from "@shardgrad/gpu";
import { stubCuda } from "./stub-cuda.js";
import { onRealDriver } from "./stub-cuda-missing.js";

/** What runs the CUDA kernels in the tests: stand-ins on the processor, or the machine's own GPU. */
export const kernelRuns = onRealDriver ? (["the GPU"] as const) : (["sources", "ptx"] as const);
export type KernelRun = "sources" | "ptx" | "the GPU";

/**
 * Opens a back end; or why there is none in one line. The seed decides in which order the stand-in runs streams, blocks and threads.
 */
export function openerOf(runs: KernelRun): ((seed: number) => Promise<CudaBackend>) | string {
  if (runs === "the GPU") {
    return async () => {
      const backend = await openCuda();
      if (typeof backend === "string") throw new Error(backend);
      return backend;
    };
  }
  const stub = stubCuda(runs);
  if (typeof stub === "string") return stub;
  return (seed) => {
    stub.reset(seed);
    return stub.open();
  };
}
