import { HEADER_WORDS, type PartPlace, ROW_GROUP_WORDS } from "@shardgrad/gpu";

/** Slices of one table by row, as the rows kernels take them: the header of its one part, then `count` groups. */
export function grouped(indices: readonly number[], place: PartPlace = {}) {
  const order = indices.map((_, slice) => slice).sort((a, b) => indices[a]! - indices[b]! || a - b);
  const groups: number[] = [];
  order.forEach((slice, at) => {
    const row = indices[slice]!;
    if (groups.at(-ROW_GROUP_WORDS) === row) groups[groups.length - 2] = at + 1;
    else groups.push(row, at, at + 1, 0);
  });
  const count = groups.length / ROW_GROUP_WORDS;
  const first = HEADER_WORDS / ROW_GROUP_WORDS;
  const { clip = 0, variable = 0, accumulator = 0, values = 0, average = 0 } = place;
  const header = [first, first + count, 0, clip, variable, accumulator, values, average];
  return { order, rowGroups: [...header, ...groups], count };
}
