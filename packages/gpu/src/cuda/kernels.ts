import { readFileSync } from "node:fs";
import { dtypeInfo } from "@shardgrad/workers";
import type { Command } from "../backend/contract.js";
import { type GpuKernelName, gpuKernels, hasElements } from "../kernels/table.js";
import type { CudaDriver } from "./driver.js";
import { CudaError } from "./results.js";

/** Numbers of CUjit_option. */
const ERROR_LOG = 5;
const ERROR_LOG_BYTES = 6;

/** Bytes of the one argument that every kernel takes: `arguments` of cuda/device.h. */
export const ARGUMENT_BYTES = 152;
const MOST_BUFFERS = 8;
const MOST_BLOCKS = 2 ** 31 - 1;
/** Threads of a block, of any kernel. */
export const MOST_THREADS = 256;

/** The text that the driver compiles for its device. */
export function readPtx(): string {
  return readFileSync(new URL("../../cuda/kernels.ptx", import.meta.url), "utf8");
}

/** The names under which a kernel is exported, such as `adagradDenseF32`. */
export function exportsOf(kernel: GpuKernelName): string[] {
  return hasElements(kernel) ? [`${kernel}F32`, `${kernel}F64`] : [kernel];
}

/** The one for a dtype. */
export function exportOf(kernel: GpuKernelName, dtype: Command["dtype"]): string {
  return hasElements(kernel) ? `${kernel}${dtypeInfo[dtype].suffix}` : kernel;
}

/** Compiles a module. @throws Error with the first lines of the compiler's log */
export function loadModule(driver: CudaDriver, ptx: string): number {
  const log = new Uint8Array(8192);
  const options = new Int32Array([ERROR_LOG, ERROR_LOG_BYTES]);
  const values = new BigUint64Array([BigInt(driver.addressOf(log)), BigInt(log.length)]);
  const module = new BigUint64Array(1);
  const result = driver.try("cuModuleLoadDataEx", module, ptx, options.length, options, values);
  if (result === 0) return Number(module[0]);
  const end = log.indexOf(0);
  const text = new TextDecoder().decode(log.subarray(0, end < 0 ? log.length : end)).trim();
  const told = text.split("\n", 3).join(" ");
  throw new CudaError("cuModuleLoadDataEx", result, told === "" ? undefined : told);
}

export interface LaunchShape {
  readonly blocks: number;
  readonly threads: number;
}

/** Threads of a block, and how many of the kernel's units a block takes. */
const shapes: Record<Command["kernel"], { readonly threads: number; readonly units: number | "rows" }> = {
  adagradDense: { threads: 256, units: 1 },
  ema: { threads: 256, units: 1 },
  fill: { threads: 256, units: 1 },
  copy: { threads: 256, units: 1 },
  clipScalars: { threads: 256, units: 1 },
  // An octet of threads for each unit.
  sumSquares: { threads: 64, units: 8 },
  rowwiseDense: { threads: 128, units: 16 },
  rowwiseRows: { threads: 256, units: 32 },
  adagradRows: { threads: 256, units: "rows" },
  catchUp: { threads: 256, units: "rows" },
  gather: { threads: 256, units: "rows" },
  // A thread for each digit.
  countDigits: { threads: 256, units: 1 },
  sortPass: { threads: 256, units: 1 },
  countRows: { threads: 256, units: 1 },
  writeGroups: { threads: 256, units: 1 },
  groupSlices: { threads: 256, units: 1 },
};

/** How many blocks of how many threads run a command. Kernels stride, so any number of blocks is right. */
export function shapeOf({ kernel, dtype, scalars, count }: Command): LaunchShape {
  const { threads, units } = shapes[kernel];
  const each = units === "rows" ? rowsOfBlock(kernel, dtypeInfo[dtype].bytes, scalars, threads) : units;
  return { threads, blocks: Math.min(Math.ceil(count / each), MOST_BLOCKS) };
}

/** As `rowShift` of cuda/rows.h: as many threads for a row as it has vectors, rounded up to a power of two. */
function rowsOfBlock(
  kernel: Command["kernel"],
  bytes: number,
  scalars: readonly number[],
  threads: number,
): number {
  const rowSize = scalars[gpuKernels[kernel].scalars.findIndex(({ name }) => name === "rowSize")]!;
  const vectors = Math.max(Math.ceil((rowSize * bytes) / 16), 1);
  return Math.max(threads >> Math.ceil(Math.log2(vectors)), 1);
}

/** Writes the argument of a kernel. */
export class ArgumentWriter {
  readonly #buffer = new ArrayBuffer(ARGUMENT_BYTES);
  readonly #words = new Uint32Array(this.#buffer);
  readonly #elements = new Float64Array(this.#buffer);
  /** The driver takes a list of addresses of arguments: one address. */
  readonly list: BigUint64Array;

  constructor(driver: CudaDriver) {
    this.list = new BigUint64Array([BigInt(driver.addressOf(this.#words))]);
  }

  /** The argument of a launch that does nothing, whatever the kernel. */
  clear(): void {
    this.#words.fill(0);
  }

  write({ kernel, scalars, count }: Command, addresses: readonly number[]): void {
    this.clear();
    for (const [i, address] of addresses.entries()) this.#word(i, address);
    this.#word(MOST_BUFFERS, count);
    for (const [i, { type }] of gpuKernels[kernel].scalars.entries()) {
      const slot = MOST_BUFFERS + 1 + i;
      if (type === "element") this.#elements[slot] = scalars[i]!;
      else this.#word(slot, scalars[i]!);
    }
  }

  #word(slot: number, value: number): void {
    this.#words[2 * slot] = value;
    this.#words[2 * slot + 1] = value / 2 ** 32;
  }
}
