import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What a reader needs to know of the machine. */
export function machine() {
  return {
    node: process.version,
    v8: process.versions.v8,
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    parallelism: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
  };
}

/** Memory that is free, with some left for everybody else. */
export const freeBytes = () => freemem() * 0.9 - 2 ** 29;

/** @param {number} bytes */
export const hasMemory = (bytes) => freemem() > bytes;

/** Frees what nobody refers to any more: memories of closed runtimes are gigabytes, which the collector does not see. */
export function fullCollection() {
  setFlagsFromString("--expose-gc");
  /** @type {() => void} */ (runInNewContext("gc"))();
}
