// WebAssembly has no prefetch. Loading one word of each cache line of many rows in a tight loop, long before the rows
// are computed on, keeps many cache and page table misses under way at once, which is what a prefetch is for.
// What counts is how few instructions lie between two misses: the loops below have no inner loops.

/** Of longer rows only the beginning is touched: the processor fetches ahead in them by itself. */
const REACH: u32 = 1024;

/**
 * Touches rows and slices of the entries from `from` to `to`. The result has to be stored somewhere, or else the
 * optimiser drops the loads.
 */
export function touchEntries(
  list: usize,
  from: u32,
  to: u32,
  variable: usize,
  accumulator: usize,
  values: usize,
  rowBytes: u32,
): u32 {
  const start = list + (from << 3);
  const end = list + (to << 3);
  let seen: u32 = 0;
  const reach = min<u32>(rowBytes, REACH);
  let offset: u32 = 0;
  for (; offset + 256 <= reach; offset += 256) {
    for (let at = start; at < end; at += 8) {
      const row = load<u32>(at, 4) * rowBytes + offset;
      seen ^= four(variable + row) ^ four(accumulator + row);
    }
    // In a loop of their own: a few per cent faster.
    for (let at = start; at < end; at += 8) seen ^= four(values + load<u32>(at) + offset);
  }
  if (offset === reach) return seen;
  if (reach - offset === 64) {
    for (let at = start; at < end; at += 8) {
      const row = load<u32>(at, 4) * rowBytes + offset;
      seen ^= load<u8>(variable + row) ^ load<u8>(accumulator + row) ^ load<u8>(values + load<u32>(at) + offset);
    }
    return seen;
  }
  // What is left of a row, two lines at a time, and its last byte: a row that is not made of whole lines may begin in
  // the middle of one and end in a line of its own. A byte touched twice is cheaper than a loop over the lines.
  for (; offset < reach; offset += 128) {
    const second = min<u32>(64, reach - 1 - offset);
    for (let at = start; at < end; at += 8) {
      const row = load<u32>(at, 4) * rowBytes + offset;
      seen ^= two(variable + row, second) ^ two(accumulator + row, second);
      seen ^= two(values + load<u32>(at) + offset, second);
    }
  }
  return seen;
}

@inline
function four(address: usize): u32 {
  const low = <u32>load<u8>(address) ^ load<u8>(address, 64);
  return low ^ load<u8>(address, 128) ^ load<u8>(address, 192);
}

@inline
function two(address: usize, second: u32): u32 {
  return <u32>load<u8>(address) ^ load<u8>(address + second);
}

/** The same for rows with one accumulator element of `element` bytes. */
export function touchRowwise(
  list: usize,
  from: u32,
  to: u32,
  variable: usize,
  accumulator: usize,
  values: usize,
  rowBytes: u32,
  element: u32,
): u32 {
  const start = list + (from << 3);
  const end = list + (to << 3);
  let seen: u32 = 0;
  for (let at = start; at < end; at += 8) seen ^= load<u8>(accumulator + load<u32>(at, 4) * element);
  const reach = min<u32>(rowBytes, REACH);
  // Two lines at a time, and the last byte of what is left.
  for (let offset: u32 = 0; offset < reach; offset += 128) {
    const second = min<u32>(64, reach - 1 - offset);
    for (let at = start; at < end; at += 8) {
      seen ^= two(variable + load<u32>(at, 4) * rowBytes + offset, second);
      seen ^= two(values + load<u32>(at) + offset, second);
    }
  }
  return seen;
}
