// Compiles the kernels on a thread of its own: see compile.ts.
import { parentPort, workerData } from "node:worker_threads";
import type { CompileAnswer, CompileRequest } from "./compile.js";
import { CudaDriver, type Koffi } from "./driver.js";
import { loadModule, readPtx } from "./kernels.js";
import { CudaError } from "./results.js";

const { library, context } = workerData as CompileRequest;
const koffi = (await import("koffi")).default as unknown as Koffi;
parentPort!.postMessage(compile(new CudaDriver(koffi, library)));

function compile(driver: CudaDriver): CompileAnswer {
  try {
    driver.call("cuCtxSetCurrent", context);
    return { module: loadModule(driver, readPtx()) };
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
    const { call, result, text } = error;
    return { failed: { call, result, text } };
  } finally {
    driver.try("cuCtxSetCurrent", 0);
  }
}
