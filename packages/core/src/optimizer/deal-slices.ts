import type { StorageSegment } from "../variable/segments.js";

/** The slices of a step, grouped by the segments that hold their rows; in list order within each. */
export interface DealtSlices {
  /** Positions in the list, those of the first segment first. */
  readonly positions: Uint32Array;
  /** Where the positions of each segment start, and at last their number. */
  readonly starts: Uint32Array;
}

/** Slices looked at between two looks at the event loop. */
const BATCH = 131_072;

/** Groups row numbers by segment: counts, then fills. Yields now and then. */
export function* dealSlices(
  rows: Uint32Array,
  segments: readonly StorageSegment[],
  rowSize: number,
): Generator<void, DealtSlices> {
  const finder = finderOf(segments, rowSize);
  const starts = new Uint32Array(segments.length + 1);
  for (let from = 0; from < rows.length; from += BATCH) {
    if (from > 0) yield;
    countRows(rows, from, Math.min(from + BATCH, rows.length), finder, starts);
  }
  for (let s = 0; s < segments.length; s++) starts[s + 1]! += starts[s]!;
  const positions = new Uint32Array(rows.length);
  const next = starts.slice();
  for (let from = 0; from < rows.length; from += BATCH) {
    if (from > 0) yield;
    placeRows(rows, from, Math.min(from + BATCH, rows.length), finder, next, positions);
  }
  return { positions, starts };
}

/** Finds the segment of a row: a table says where to start looking, which is nearly always right. */
interface Finder {
  readonly shift: number;
  /** By the upper bits of a row: the first segment that can hold it. */
  readonly first: Uint16Array;
  /** By segment: the row after its last. */
  readonly ends: Float64Array;
}

const MOST_ENTRIES = 4096;
const finders = new WeakMap<readonly StorageSegment[], Finder>();

function finderOf(segments: readonly StorageSegment[], rowSize: number): Finder {
  const known = finders.get(segments);
  if (known !== undefined) return known;
  const ends = Float64Array.from(segments, ({ start, count }) => (start + count) / rowSize);
  const rows = ends[ends.length - 1]!;
  let shift = 0;
  while (rows / 2 ** shift > MOST_ENTRIES) shift++;
  const first = new Uint16Array(Math.floor(rows / 2 ** shift) + 1);
  for (let entry = 0, segment = 0; entry < first.length; entry++) {
    while (segment < ends.length - 1 && ends[segment]! <= entry * 2 ** shift) segment++;
    first[entry] = segment;
  }
  const finder = { shift, first, ends };
  finders.set(segments, finder);
  return finder;
}

/** Adds each row to the count after its segment's. */
function countRows(
  rows: Uint32Array,
  from: number,
  to: number,
  { shift, first, ends }: Finder,
  counts: Uint32Array,
): void {
  for (let i = from; i < to; i++) {
    const row = rows[i]!;
    let segment = first[row >>> shift]!;
    while (row >= ends[segment]!) segment++;
    counts[segment + 1]!++;
  }
}

function placeRows(
  rows: Uint32Array,
  from: number,
  to: number,
  { shift, first, ends }: Finder,
  next: Uint32Array,
  positions: Uint32Array,
): void {
  for (let i = from; i < to; i++) {
    const row = rows[i]!;
    let segment = first[row >>> shift]!;
    while (row >= ends[segment]!) segment++;
    positions[next[segment]!++] = i;
  }
}

/** Arrays of whole numbers: copying them keeps every bit, of a NaN too. */
export type Words = Int32Array | Uint16Array;

/** From so many words on, one call of `set` is quicker than a loop. */
const LONG = 512;

/**
 * Copies the slices at positions [from, to) of `positions` to the front of `target`, one after another.
 * @param width - words of a slice
 */
export function gatherSlices(
  source: Words,
  target: Words,
  positions: Uint32Array,
  from: number,
  to: number,
  width: number,
): void {
  let at = 0;
  for (let i = from; i < to; ) {
    const position = positions[i]!;
    let run = 1;
    while (i + run < to && positions[i + run] === position + run) run++;
    const words = run * width;
    const start = position * width;
    if (words >= LONG) target.set(source.subarray(start, start + words), at);
    else for (let j = 0; j < words; j++) target[at + j] = source[start + j]!;
    at += words;
    i += run;
  }
}
