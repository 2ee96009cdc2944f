import { totalmem } from "node:os";
import type { MemoryPool } from "@shardgrad/workers";

/** Kernels take row numbers as u32. */
const MOST_ROWS = 2 ** 32 - 1;

/** What a process can address, and what of it V8 sets aside for one shared memory of any size: 8 GiB, and guards. */
const ADDRESS_SPACE = process.arch === "arm64" ? 2 ** 48 : 2 ** 47;
const ADDRESSES_OF_ONE = 10 * 2 ** 30;

/** Most bytes that a variable can have at all, by the memories that fit into the address space. */
export function mostBytes(memory: MemoryPool): number {
  return Math.floor(ADDRESS_SPACE / ADDRESSES_OF_ONE) * memory.segmentBytes;
}

export function mostRows(memory: MemoryPool, rowBytes: number): number {
  return Math.min(MOST_ROWS, Math.floor(mostBytes(memory) / Math.max(rowBytes, 1)));
}

/**
 * Bytes of memory that this process can write to: the machine's, or its control group's. Zeros that nobody has touched
 * take none. Without this the system ends a process that fills more.
 */
export function machineBytes(): number {
  const limit = process.constrainedMemory?.() ?? 0;
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}
