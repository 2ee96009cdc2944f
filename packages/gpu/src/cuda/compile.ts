import { Worker } from "node:worker_threads";
import type { CudaDriver } from "./driver.js";
import { loadModule, readPtx } from "./kernels.js";
import { CudaError } from "./results.js";

export interface CompileRequest {
  /** The driver's library, as it was loaded here. */
  readonly library: string;
  readonly context: number;
}

export type CompileAnswer =
  | { readonly module: number }
  | {
      readonly failed: { readonly call: string; readonly result: number; readonly text: string | undefined };
    };

/**
 * The module of the kernels in a primary context. Compiling takes up to some seconds, for which a thread has to have
 * the context: koffi's own calls do not say on which thread they run, so it is one of ours, for once. Contexts and modules
 * belong to the process. Where no thread can be started it is done here.
 * @throws (rejects) CudaError
 */
export async function compileKernels(driver: CudaDriver, context: number): Promise<number> {
  const answer = await askWorker({ library: driver.library, context }).catch(() => undefined);
  if (answer === undefined) {
    driver.call("cuCtxSetCurrent", context);
    return loadModule(driver, readPtx());
  }
  if ("module" in answer) return answer.module;
  const { call, result, text } = answer.failed;
  throw new CudaError(call, result, text);
}

function askWorker(workerData: CompileRequest): Promise<CompileAnswer> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./compile-worker.js", import.meta.url), { workerData, execArgv: [] });
    worker.once("message", resolve);
    worker.once("error", reject);
    // After an answer, to nobody.
    worker.once("exit", (code) => reject(new Error(`The compiling thread ended with ${code}.`)));
  });
}
