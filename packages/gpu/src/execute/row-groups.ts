import type { HostMemory, StepPlan } from "@shardgrad/workers";
import { ROW_GROUP_WORDS } from "../kernels/table.js";

/** Slices by row, as the rows kernels take them. */
export interface RowGroups {
  /** Numbers of slices, by row; slices of one row in list order. */
  readonly order: Uint32Array;
  /** ROW_GROUP_WORDS for each row that is named, in ascending order. */
  readonly groups: Uint32Array;
}

const BITS = 11;
const DIGITS = 1 << BITS;

/** The slices of a segment by row. */
export function rowsOfSlices(
  { updates }: StepPlan,
  update: number,
  segment: number,
  host: HostMemory,
): RowGroups {
  const { memory, gradient } = updates[update]!.segments[segment]!;
  if (gradient.kind !== "slices") throw new TypeError("The segment has no slices.");
  const { buffer, byteOffset } = host.bytes(memory, gradient.indices, 4 * gradient.count);
  return groupRows(new Uint32Array(buffer, byteOffset, gradient.count));
}

/** Groups slices by sorting their rows: least significant digit first, which keeps slices of a row in list order. */
export function groupRows(indices: Uint32Array): RowGroups {
  const order = sorted(indices);
  const groups = new Uint32Array(indices.length * ROW_GROUP_WORDS);
  let end = 0;
  let previous = -1;
  for (let at = 0; at < order.length; at++) {
    const row = indices[order[at]!]!;
    if (row !== previous) {
      groups[end] = row;
      groups[end + 1] = at;
      end += ROW_GROUP_WORDS;
      previous = row;
    }
    groups[end - 2] = at + 1;
  }
  return { order, groups: groups.subarray(0, end) };
}

function sorted(indices: Uint32Array): Uint32Array {
  const count = indices.length;
  let order = new Uint32Array(count);
  let largest = 0;
  let ascending = true;
  for (let i = 0; i < count; i++) {
    order[i] = i;
    if (i > 0 && indices[i]! < indices[i - 1]!) ascending = false;
    if (indices[i]! > largest) largest = indices[i]!;
  }
  if (ascending) return order;
  let other = new Uint32Array(count);
  const starts = new Uint32Array(DIGITS);
  for (let shift = 0; shift < 32 && largest >>> shift > 0; shift += BITS) {
    starts.fill(0);
    for (let i = 0; i < count; i++) starts[(indices[i]! >>> shift) & (DIGITS - 1)]!++;
    let start = 0;
    for (let digit = 0; digit < DIGITS; digit++) {
      const length = starts[digit]!;
      starts[digit] = start;
      start += length;
    }
    for (let i = 0; i < count; i++) {
      const slice = order[i]!;
      const digit = (indices[slice]! >>> shift) & (DIGITS - 1);
      other[starts[digit]!++] = slice;
    }
    [order, other] = [other, order];
  }
  return order;
}
