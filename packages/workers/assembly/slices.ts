// Which slices a lane owns, in the order in which it handles them: by row, slices of one row in list order.
// Sorting costs 4 ns a slice, as much as a hash table would, and puts rows that lie near each other together.
// An entry is a u64, the row above the byte offset of the slice's values: all are different and sort by value.

import { dealtAscending, dealtCount, dealtFirst, dealtLargest, dealtSecond, gatherDealt } from "./deal";

/** What the last gathering found. A module instance belongs to one thread, and so do these. */
export let entries: u32 = 0;
let ascending: bool = true;
let largestRow: u32 = 0;

/** Two lists of entries, which sorting goes back and forth between, after a table of counts. */
export function rowsScratchBytes(sliceCount: u32): u32 {
  return COUNTS_BYTES + 16 * sliceCount + 64;
}

const COUNTS_BYTES: u32 = 8192;
/** Up to here insertion beats counting. */
const FEW: u32 = 64;

/** Address of this lane's sorted entries; how many there are is in `entries`. */
export function sortedEntries(
  indices: usize,
  sliceCount: u32,
  lane: u32,
  laneCount: u32,
  ownerShift: u32,
  versionMask: u32,
  rowBytes: u32,
  scratch: usize,
  dealt: usize,
): usize {
  const counts = (scratch + 63) & ~63;
  if (dealt !== 0) {
    gatherDealt(dealt, sliceCount, lane, laneCount);
    entries = dealtCount;
    largestRow = dealtLargest;
    return sorted(dealtFirst, dealtSecond, counts, dealtAscending);
  }
  const first = counts + COUNTS_BYTES;
  if (laneCount <= 1) gatherAll(indices, sliceCount, rowBytes, first);
  else gatherOwned(indices, sliceCount, lane, laneCount, ownerShift, versionMask, rowBytes, first);
  return sorted(first, first + (sliceCount << 3), counts, ascending);
}

function sorted(list: usize, other: usize, counts: usize, already: bool): usize {
  if (already) return list;
  return entries <= FEW ? insertionSort(list) : countingSort(list, other, counts);
}

function gatherAll(indices: usize, count: u32, rowBytes: u32, list: usize): void {
  let previous: u32 = 0;
  let largest: u32 = 0;
  let descents: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const row = load<u32>(indices + (i << 2));
    store<u64>(list + (i << 3), (<u64>row << 32) | (i * rowBytes));
    descents |= u32(row < previous);
    largest |= row;
    previous = row;
  }
  entries = count;
  ascending = descents === 0;
  largestRow = largest;
}

/**
 * Owned is ((row >> shift) & mask) % laneCount === lane. Without a division: with M = ceil(2^64 / laneCount), a number x
 * below 2^33 is a multiple of laneCount exactly when x * M modulo 2^64 is below M (Lemire, Kaser, Kurz 2019).
 */
function gatherOwned(
  indices: usize,
  count: u32,
  lane: u32,
  laneCount: u32,
  shift: u32,
  mask: u32,
  rowBytes: u32,
  list: usize,
): void {
  const inverse: u64 = ~(<u64>0) / laneCount + 1;
  const offset: u64 = laneCount - lane;
  let previous: u32 = 0;
  let largest: u32 = 0;
  let descents: u32 = 0;
  let at = list;
  for (let i: u32 = 0; i < count; i++) {
    const row = load<u32>(indices + (i << 2));
    // Without branches: a foreign entry is overwritten by the next one.
    store<u64>(at, (<u64>row << 32) | (i * rowBytes));
    const owned = u32((<u64>((row >> shift) & mask) + offset) * inverse < inverse);
    descents |= owned & u32(row < previous);
    largest |= row;
    previous = owned ? row : previous;
    at += owned << 3;
  }
  entries = <u32>((at - list) >> 3);
  ascending = descents === 0;
  largestRow = largest;
}

function insertionSort(list: usize): usize {
  const end = list + (entries << 3);
  for (let next = list + 8; next < end; next += 8) {
    const entry = load<u64>(next);
    let at = next;
    while (at > list) {
      const before = load<u64>(at - 8);
      if (before < entry) break;
      store<u64>(at, before);
      at -= 8;
    }
    store<u64>(at, entry);
  }
  return list;
}

/** Least significant digit first; stable, so slices of one row stay in list order. */
function countingSort(from: usize, to: usize, counts: usize): usize {
  const bits = max<u32>(32 - clz(largestRow), 1);
  const widest: u32 = entries < 1024 ? 8 : 11;
  const passes = (bits + widest - 1) / widest;
  const width = (bits + passes - 1) / passes;
  const digits: u32 = 1 << width;
  const mask = digits - 1;
  const bytes = entries << 3;
  let shift = 32;
  for (let pass: u32 = 0; pass < passes; pass++) {
    memory.fill(counts, 0, digits << 2);
    for (let i: u32 = 0; i < bytes; i += 8) {
      const count = counts + (<usize>(<u32>(load<u64>(from + i) >> shift) & mask) << 2);
      store<u32>(count, load<u32>(count) + 8);
    }
    let start: u32 = 0;
    for (let digit: u32 = 0; digit < digits; digit++) {
      const count = counts + (digit << 2);
      const size = load<u32>(count);
      store<u32>(count, start);
      start += size;
    }
    for (let i: u32 = 0; i < bytes; i += 8) {
      const entry = load<u64>(from + i);
      const count = counts + (<usize>(<u32>(entry >> shift) & mask) << 2);
      const place = load<u32>(count);
      store<u32>(count, place + 8);
      store<u64>(to + place, entry);
    }
    const swap = from;
    from = to;
    to = swap;
    shift += width;
  }
  return from;
}
