import { ROW_GROUP_WORDS } from "@shardgrad/gpu";

/** Slices by row, as the rows kernels take them. */
export function grouped(indices: readonly number[]) {
  const order = indices.map((_, slice) => slice).sort((a, b) => indices[a]! - indices[b]! || a - b);
  const rowGroups: number[] = [];
  order.forEach((slice, at) => {
    const row = indices[slice]!;
    if (rowGroups.at(-ROW_GROUP_WORDS) === row) rowGroups[rowGroups.length - 2] = at + 1;
    else rowGroups.push(row, at, at + 1, 0);
  });
  return { order, rowGroups };
}
