import { ROW_GROUP_WORDS } from "../kernels/table.js";

/** Slices by row, as the rows kernels take them. */
export interface RowGroups {
  /** Numbers of slices, by row; slices of one row in list order. */
  readonly order: Uint32Array;
  /** ROW_GROUP_WORDS for each row that is named, in ascending order. */
  readonly groups: Uint32Array;
}

/** Notes in each group how far its row is behind. @param words - one for each slice, the same for slices of one row */
export function noteBehind({ order, groups }: RowGroups, words: Uint32Array): void {
  for (let at = 0; at < groups.length; at += ROW_GROUP_WORDS) {
    groups[at + 3] = words[order[groups[at + 1]!]!]!;
  }
}

/** Slices that are looked at between two pauses: some tenths of a millisecond. */
const CHUNK = 1 << 16;
const MOST_BITS = 11;
const MOST_PASSES = 3;

/** Groups slices by row. */
export function groupRows(indices: Uint32Array): RowGroups {
  const grouping = groupingRows(indices);
  let next = grouping.next();
  while (!next.done) next = grouping.next();
  return next.value;
}

/**
 * The same with pauses: an element for each that is due. Rows are sorted least significant digit first, which keeps
 * slices of a row in list order. They move along with their slices, so that nothing is read out of order.
 */
export function* groupingRows(indices: Uint32Array): Generator<void, RowGroups> {
  const count = indices.length;
  let order: Uint32Array = new Uint32Array(count);
  let rows = indices;
  const seen: Seen = { largest: 0, previous: 0, ascending: true };
  for (let from = 0; from < count; from += CHUNK) {
    look(indices, order, from, Math.min(from + CHUNK, count), seen);
    yield;
  }
  if (!seen.ascending) {
    const bits = 32 - Math.clz32(seen.largest);
    const passes = Math.ceil(bits / MOST_BITS);
    const digitBits = Math.ceil(bits / passes);
    const starts = new Uint32Array(MOST_PASSES << MOST_BITS);
    const free: Uint32Array[] = [new Uint32Array(count), new Uint32Array(count), new Uint32Array(count)];
    for (let from = 0; from < count; from += CHUNK) {
      countDigits(indices, starts, from, Math.min(from + CHUNK, count), passes, digitBits);
      yield;
    }
    for (let pass = 0; pass < passes; pass++) {
      const own = starts.subarray(pass << MOST_BITS, (pass << MOST_BITS) + (1 << digitBits));
      toStarts(own);
      const [toRows, toOrder] = [free.pop()!, free.pop()!];
      for (let from = 0; from < count; from += CHUNK) {
        const to = Math.min(from + CHUNK, count);
        moveByDigit(rows, order, toRows, toOrder, own, from, to, pass * digitBits);
        yield;
      }
      // The list of rows that came is the caller's.
      if (rows !== indices) free.push(rows);
      free.push(order);
      [rows, order] = [toRows, toOrder];
    }
  }
  const groups = new Uint32Array(count * ROW_GROUP_WORDS);
  let end = 0;
  for (let from = 0; from < count; from += CHUNK) {
    end = addGroups(rows, groups, from, Math.min(from + CHUNK, count), end);
    yield;
  }
  return { order, groups: groups.subarray(0, end) };
}

interface Seen {
  largest: number;
  previous: number;
  ascending: boolean;
}

function look(indices: Uint32Array, order: Uint32Array, from: number, to: number, seen: Seen): void {
  let { largest, previous, ascending } = seen;
  for (let i = from; i < to; i++) {
    const row = indices[i]!;
    if (row < previous) ascending = false;
    if (row > largest) largest = row;
    previous = row;
    order[i] = i;
  }
  Object.assign(seen, { largest, previous, ascending });
}

/** Adds to the number of slices of each digit, for all passes. */
function countDigits(
  indices: Uint32Array,
  counts: Uint32Array,
  from: number,
  to: number,
  passes: number,
  digitBits: number,
): void {
  const mask = (1 << digitBits) - 1;
  for (let pass = 0; pass < passes; pass++) {
    const base = pass << MOST_BITS;
    const shift = pass * digitBits;
    for (let i = from; i < to; i++) counts[base + ((indices[i]! >>> shift) & mask)]!++;
  }
}

/** Numbers of slices become the positions of the first ones. */
function toStarts(counts: Uint32Array): void {
  let start = 0;
  for (let digit = 0; digit < counts.length; digit++) {
    const length = counts[digit]!;
    counts[digit] = start;
    start += length;
  }
}

function moveByDigit(
  rows: Uint32Array,
  order: Uint32Array,
  toRows: Uint32Array,
  toOrder: Uint32Array,
  starts: Uint32Array,
  from: number,
  to: number,
  shift: number,
): void {
  const mask = starts.length - 1;
  for (let i = from; i < to; i++) {
    const row = rows[i]!;
    const digit = (row >>> shift) & mask;
    const at = starts[digit]!;
    starts[digit] = at + 1;
    toRows[at] = row;
    toOrder[at] = order[i]!;
  }
}

/** Adds the groups of sorted rows; the last one goes on where the rows before `from` have ended. */
function addGroups(rows: Uint32Array, groups: Uint32Array, from: number, to: number, end: number): number {
  let at = end;
  for (let i = from; i < to; i++) {
    const row = rows[i]!;
    if (at === 0 || groups[at - ROW_GROUP_WORDS] !== row) {
      groups[at] = row;
      groups[at + 1] = i;
      at += ROW_GROUP_WORDS;
    }
    groups[at - 2] = i + 1;
  }
  return at;
}
