import type { Accelerator } from "@shardgrad/workers";
import type { ArrayPlace } from "./host-copies.js";

/** A segment of a variable. */
export interface GatheredSegment extends ArrayPlace {
  readonly start: number;
  readonly count: number;
}

/** Copies rows of a variable from an accelerator. @param rows - row numbers within the variable */
export async function gatherRows(
  accelerator: Accelerator,
  segments: readonly GatheredSegment[],
  rowSize: number,
  rows: Uint32Array,
  target: Uint8Array,
): Promise<void> {
  const rowBytes = rows.length === 0 ? 0 : target.byteLength / rows.length;
  const coming = segments.map(async ({ home, block, start, count }) => {
    const first = start / rowSize;
    const end = (start + count) / rowSize;
    const positions = Uint32Array.from(rows.keys()).filter((i) => rows[i]! >= first && rows[i]! < end);
    const isAll = positions.length === rows.length;
    const values = isAll ? target : new Uint8Array(positions.length * rowBytes);
    const numbers = positions.map((i) => rows[i]! - first);
    await accelerator.gather(home.arena.id, block.offset, rowSize, numbers, values);
    if (isAll) return;
    positions.forEach((position, i) => {
      target.set(values.subarray(i * rowBytes, (i + 1) * rowBytes), position * rowBytes);
    });
  });
  await Promise.all(coming);
}
