import { totalmem } from "node:os";
import { type DType, dtypeInfo, MemoryExhaustedError } from "@shardgrad/workers";

/**
 * Memories only take address space until they are written, so that a number of rows that cannot be meant would be tried
 * for minutes, memory after memory, and leave the process without address space.
 * @throws MemoryExhaustedError for more elements than the machine has memory for
 */
export function refuseBeyondMachine(dtype: DType, size: number): void {
  refuseBytes(size * dtypeInfo[dtype].bytes);
}

/**
 * The same for bytes that are about to be written: the system would end the process part way.
 * @throws MemoryExhaustedError
 */
export function refuseBytes(bytes: number): void {
  // Of a control group, where there is one.
  const limit = process.constrainedMemory?.() ?? 0;
  const machine = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  if (bytes > machine) throw new MemoryExhaustedError(bytes, `the machine has ${machine}`);
}
