import type { StorageSegment } from "../variable/segments.js";
import type { Words } from "./copy-values.js";

/** Slices looked at between two looks at the event loop. */
const BATCH = 131_072;

/** Finds the segment of a row: a table says where to start looking, which is nearly always right. */
export interface Finder {
  readonly shift: number;
  /** By the upper bits of a row: the first segment that can hold it. */
  readonly guesses: Uint16Array;
  /** By segment: its first row, and at last the number of rows. */
  readonly starts: Float64Array;
}

const MOST_GUESSES = 4096;
const finders = new WeakMap<readonly StorageSegment[], Finder>();

export function finderOf(segments: readonly StorageSegment[], rowSize: number): Finder {
  const known = finders.get(segments);
  if (known !== undefined) return known;
  const { start, count } = segments[segments.length - 1]!;
  const rows = (start + count) / rowSize;
  const starts = Float64Array.from([...segments.map((segment) => segment.start / rowSize), rows]);
  const shift = Math.max(0, Math.ceil(Math.log2(rows / MOST_GUESSES)));
  const guesses = new Uint16Array(Math.floor(rows / 2 ** shift) + 1);
  for (let entry = 0, segment = 0; entry < guesses.length; entry++) {
    while (segment < segments.length - 1 && starts[segment + 1]! <= entry * 2 ** shift) segment++;
    guesses[entry] = segment;
  }
  const finder = { shift, guesses, starts };
  finders.set(segments, finder);
  return finder;
}

/** How many of the row numbers belong to each segment. Yields now and then. */
export function* countSlices(rows: Uint32Array, finder: Finder): Generator<void, Uint32Array> {
  const counts = new Uint32Array(finder.starts.length - 1);
  for (let from = 0; from < rows.length; from += BATCH) {
    if (from > 0) yield;
    addCounts(rows, from, Math.min(from + BATCH, rows.length), finder, counts);
  }
  return counts;
}

function addCounts(
  rows: Uint32Array,
  from: number,
  to: number,
  { shift, guesses, starts }: Finder,
  counts: Uint32Array,
): void {
  for (let i = from; i < to; i++) {
    const row = rows[i]!;
    let segment = guesses[row >>> shift]!;
    while (row >= starts[segment + 1]!) segment++;
    counts[segment]!++;
  }
}

/** Where the slices of each segment go. Segments without any have empty arrays. */
export interface Deal {
  /** Row numbers, counted from the segment's first row. */
  readonly rows: readonly Uint32Array[];
  readonly values: readonly Words[];
  /** By segment: slices dealt so far. */
  readonly dealt: Uint32Array;
}

/**
 * Deals slices [from, to) of the list to their segments, in list order: the values are read once from the front to
 * the back, which memory likes better than a pass for each segment.
 * @param width - words of a slice
 */
export function dealSlices(
  rows: Uint32Array,
  values: Words,
  from: number,
  to: number,
  width: number,
  { shift, guesses, starts }: Finder,
  deal: Deal,
): void {
  for (let i = from; i < to; i++) {
    const row = rows[i]!;
    let segment = guesses[row >>> shift]!;
    while (row >= starts[segment + 1]!) segment++;
    const at = deal.dealt[segment]!++;
    deal.rows[segment]![at] = row - starts[segment]!;
    copyWords(values, i * width, deal.values[segment]!, at * width, width);
  }
}

/** From so many words on, one call of `set` is quicker than a loop. */
const LONG = 1024;

/** Four words at a time: a third quicker than one by one. */
function copyWords(source: Words, start: number, target: Words, at: number, count: number): void {
  if (count >= LONG) {
    target.set(source.subarray(start, start + count), at);
    return;
  }
  const whole = count - (count % 4);
  let j = 0;
  for (; j < whole; j += 4) {
    const from = start + j;
    const to = at + j;
    target[to] = source[from]!;
    target[to + 1] = source[from + 1]!;
    target[to + 2] = source[from + 2]!;
    target[to + 3] = source[from + 3]!;
  }
  for (; j < count; j++) target[at + j] = source[start + j]!;
}
