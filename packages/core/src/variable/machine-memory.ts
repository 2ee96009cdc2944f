import { totalmem } from "node:os";
import { type DType, dtypeInfo, MemoryExhaustedError } from "@shardgrad/workers";

/**
 * Memories only take address space until they are written, so that a number of rows that cannot be meant would be tried
 * for minutes, memory after memory, and leave the process without address space.
 * @throws MemoryExhaustedError for more elements than the machine has memory for
 */
export function refuseBeyondMachine(dtype: DType, size: number): void {
  const bytes = size * dtypeInfo[dtype].bytes;
  const machine = totalmem();
  if (bytes > machine) throw new MemoryExhaustedError(bytes, `the machine has ${machine}`);
}
