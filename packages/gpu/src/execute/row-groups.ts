import { ROW_GROUP_WORDS } from "../kernels/table.js";

/** Slices by row, as the rows kernels take them. */
export interface RowGroups {
  /** Numbers of slices, by row; slices of one row in list order. */
  readonly order: Uint32Array;
  /** ROW_GROUP_WORDS for each row that is named, in ascending order. */
  readonly groups: Uint32Array;
}

const MOST_BITS = 11;

/**
 * Groups slices by row on the host, for devices that run no kernels of ours. Rows are sorted least significant digit first,
 * which keeps slices of a row in list order. They move along with their slices, so that nothing is read out of order.
 */
export function groupRows(indices: Uint32Array): RowGroups {
  const count = indices.length;
  let order: Uint32Array = Uint32Array.from({ length: count }, (_, slice) => slice);
  let rows = indices;
  const { largest, ascending } = look(indices);
  if (!ascending) {
    const bits = 32 - Math.clz32(largest);
    const passes = Math.ceil(bits / MOST_BITS);
    const digitBits = Math.ceil(bits / passes);
    for (let pass = 0; pass < passes; pass++) {
      const shift = pass * digitBits;
      const starts = startsOf(rows, shift, digitBits);
      const [toRows, toOrder] = [new Uint32Array(count), new Uint32Array(count)];
      for (let i = 0; i < count; i++) {
        const row = rows[i]!;
        const at = starts[(row >>> shift) & (starts.length - 1)]!++;
        toRows[at] = row;
        toOrder[at] = order[i]!;
      }
      [rows, order] = [toRows, toOrder];
    }
  }
  return { order, groups: groupsOf(rows) };
}

function look(indices: Uint32Array): { largest: number; ascending: boolean } {
  let [largest, previous, ascending] = [0, 0, true];
  for (const row of indices) {
    if (row < previous) ascending = false;
    if (row > largest) largest = row;
    previous = row;
  }
  return { largest, ascending };
}

/** Positions of the first slices of each digit. */
function startsOf(rows: Uint32Array, shift: number, digitBits: number): Uint32Array {
  const starts = new Uint32Array(1 << digitBits);
  for (let i = 0; i < rows.length; i++) starts[(rows[i]! >>> shift) & (starts.length - 1)]!++;
  let start = 0;
  for (let digit = 0; digit < starts.length; digit++) {
    const length = starts[digit]!;
    starts[digit] = start;
    start += length;
  }
  return starts;
}

/** The groups of sorted rows. */
function groupsOf(rows: Uint32Array): Uint32Array {
  const groups = new Uint32Array(rows.length * ROW_GROUP_WORDS);
  let at = 0;
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if (at === 0 || groups[at - ROW_GROUP_WORDS] !== row) {
      groups[at] = row;
      groups[at + 1] = i;
      at += ROW_GROUP_WORDS;
    }
    groups[at - 2] = i + 1;
  }
  return groups.subarray(0, at);
}
