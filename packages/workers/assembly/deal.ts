// Many lanes: each deals an equal share of the slices to the lanes that own their rows, so that no lane has to look at
// all of them. Memory from a 64-byte boundary on, for n slices:
//   ends     u32[lanes][lanes]: where in `entries` the entries of a share for an owner end; they begin where those for
//            the owner before end, or where the share begins
//   entries  u64[n], from the next 64-byte boundary on: the share of lane k begins at n * k / lanes
//   lists    u64[2][n]: two lists of each owner, as many entries as it has, one owner after the other
// An entry is as in slices.ts. Shares in order and entries of a share in order: the list order of slices is kept.

@inline
function boundary(address: usize): usize {
  return (address + 63) & ~63;
}

@inline
function shareStart(sliceCount: u32, lane: u32, lanes: u32): u32 {
  return <u32>((<u64>sliceCount * lane) / lanes);
}

/** @param mask - below 4096 */
export function dealRows(
  indices: usize,
  sliceCount: u32,
  rowBytes: u32,
  lane: u32,
  lanes: u32,
  shift: u32,
  mask: u32,
  dealt: usize,
): void {
  const table = boundary(dealt);
  const ends = table + ((lane * lanes) << 2);
  const entries = boundary(table + ((lanes * lanes) << 2));
  const from = shareStart(sliceCount, lane, lanes);
  const to = shareStart(sliceCount, lane + 1, lanes);
  // A block below 4096 by at most 1024 lanes: the quotient by this factor is exact.
  const inverse = (<u64>1 << 22) / lanes + 1;
  clear(ends, lanes);
  for (let i = from; i < to; i++) {
    const count = ends + (owner((load<u32>(indices + (i << 2)) >> shift) & mask, lanes, inverse) << 2);
    store<u32>(count, load<u32>(count) + 1);
  }
  let start = from;
  for (let lane: u32 = 0; lane < lanes; lane++) {
    const count = ends + (lane << 2);
    const size = load<u32>(count);
    store<u32>(count, start);
    start += size;
  }
  for (let i = from; i < to; i++) {
    const row = load<u32>(indices + (i << 2));
    const place = ends + (owner((row >> shift) & mask, lanes, inverse) << 2);
    const at = load<u32>(place);
    store<u32>(place, at + 1);
    store<u64>(entries + (at << 3), (<u64>row << 32) | (i * rowBytes));
  }
}

@inline
function owner(block: u32, lanes: u32, inverse: u64): u32 {
  return block - lanes * <u32>((<u64>block * inverse) >> 22);
}

@inline
function clear(ends: usize, lanes: u32): void {
  memory.fill(ends, 0, lanes << 2);
}

/** What `gatherDealt` found: how many entries, whether they ascend, all their bits, and the owner's two lists. */
export let dealtCount: u32 = 0;
export let dealtAscending: bool = true;
export let dealtLargest: u32 = 0;
export let dealtFirst: usize = 0;
export let dealtSecond: usize = 0;

/** Brings the entries of an owner together in its first list. */
export function gatherDealt(dealt: usize, sliceCount: u32, lane: u32, lanes: u32): void {
  const table = boundary(dealt);
  const entries = boundary(table + ((lanes * lanes) << 2));
  const lists = entries + (sliceCount << 3);
  let before: u32 = 0;
  for (let share: u32 = 0; share < lanes; share++) {
    before += startFor(table, share, lane, lanes, sliceCount) - shareStart(sliceCount, share, lanes);
  }
  dealtFirst = lists + (before << 3);
  dealtSecond = dealtFirst + (sliceCount << 3);
  let at = dealtFirst;
  let previous: u32 = 0;
  let largest: u32 = 0;
  let descents: u32 = 0;
  for (let share: u32 = 0; share < lanes; share++) {
    const end = load<u32>(table + ((share * lanes + lane) << 2));
    for (let i = startFor(table, share, lane, lanes, sliceCount); i < end; i++) {
      const entry = load<u64>(entries + (i << 3));
      const row = <u32>(entry >> 32);
      store<u64>(at, entry);
      at += 8;
      descents |= u32(row < previous);
      largest |= row;
      previous = row;
    }
  }
  dealtCount = <u32>((at - dealtFirst) >> 3);
  dealtAscending = descents === 0;
  dealtLargest = largest;
}

@inline
function startFor(table: usize, share: u32, lane: u32, lanes: u32, sliceCount: u32): u32 {
  return lane === 0
    ? shareStart(sliceCount, share, lanes)
    : load<u32>(table + ((share * lanes + lane - 1) << 2));
}
