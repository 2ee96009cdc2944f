import { availableParallelism, cpus, freemem, totalmem } from "node:os";

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

/** @param {number} bytes */
export const hasMemory = (bytes) => freemem() > bytes;
