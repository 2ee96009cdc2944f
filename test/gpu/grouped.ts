import { ROW_GROUP_WORDS } from "@shardgrad/gpu";

/** Slices of one table by row, as the rows kernels take them: a header, then `count` groups. */
export function grouped(indices: readonly number[]) {
  const order = indices.map((_, slice) => slice).sort((a, b) => indices[a]! - indices[b]! || a - b);
  const rowGroups: number[] = [1, 0, 0, 0];
  order.forEach((slice, at) => {
    const row = indices[slice]!;
    if (at > 0 && rowGroups.at(-ROW_GROUP_WORDS) === row) rowGroups[rowGroups.length - 2] = at + 1;
    else rowGroups.push(row, at, at + 1, 0);
  });
  const entries = rowGroups.length / ROW_GROUP_WORDS;
  rowGroups[1] = entries;
  return { order, rowGroups, count: entries - 1 };
}
