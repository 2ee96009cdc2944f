import { readFileSync } from "node:fs";
import { kernels } from "./table.js";
import { type WasmMemory, type WasmModule, wasm } from "./webassembly.js";

type KernelFunction = (...args: number[]) => number | undefined;

/** The kernels bound to one memory. */
export interface KernelInstance {
  /** By kernel id. */
  readonly functions: readonly KernelFunction[];
  readonly sumPartials: (partials: number, count: number, sum: number) => number;
  readonly checkIndices: (indices: number, count: number, rows: number) => number;
  readonly rowsScratchBytes: (sliceCount: number) => number;
  readonly halfFromDouble: (value: number) => number;
  readonly doubleFromHalf: (bits: number) => number;
}

let compiled: WasmModule | undefined;

/** The compiled kernels; compiled once per process, shared with threads. */
export function kernelModule(): WasmModule {
  compiled ??= new wasm.Module(readFileSync(new URL("../kernels.wasm", import.meta.url)));
  return compiled;
}

export function instantiateKernels(module: WasmModule, memory: WasmMemory): KernelInstance {
  const { exports } = new wasm.Instance(module, { env: { memory, abort: unexpectedAbort } });
  const named = exports as Record<string, KernelFunction>;
  return {
    functions: kernels.map(({ exportName }) => named[exportName]!),
    sumPartials: named.sumPartials as KernelInstance["sumPartials"],
    checkIndices: named.checkIndices as KernelInstance["checkIndices"],
    rowsScratchBytes: named.rowsScratchBytes as KernelInstance["rowsScratchBytes"],
    halfFromDouble: named.halfFromDouble as KernelInstance["halfFromDouble"],
    doubleFromHalf: named.doubleFromHalf as KernelInstance["doubleFromHalf"],
  };
}

function unexpectedAbort(): never {
  throw new Error("A kernel aborted; this is a defect of Shardgrad.");
}

let ownInstance: KernelInstance | undefined;

function own(): KernelInstance {
  ownInstance ??= instantiateKernels(
    kernelModule(),
    new wasm.Memory({ initial: 1, maximum: 65_536, shared: true }),
  );
  return ownInstance;
}

/** IEEE 754 binary16 bits of a number, rounded to nearest even. */
export function halfFromDouble(value: number): number {
  return own().halfFromDouble(value);
}

/** The number that binary16 bits stand for. */
export function doubleFromHalf(bits: number): number {
  return own().doubleFromHalf(bits);
}
