// Averages of a table that are brought up to date row by row, when a row is touched. Between two touches a row does not
// change, so k averages in a row have a closed form: e = p * e + q * w with p = m^k and q = c * (1 - p) / (1 - m). For
// k = 1 it is the eager step to the bit. An overwrite sets w to e, after which both stay as they are.
// The layout of a lazy block is in src/plan/lazy-block.ts.
import { averageRow } from "./averages";
import { EMA_OVERWRITE, EMA_UPDATE } from "./formulas";
import { splat } from "./lanes";

/** The block of the pass under way; 0: none. A module instance belongs to one thread, and so do these. */
export let lazyBlock: usize = 0;
/** Averages of the table until now. A row whose own count is not below has them all. */
let clock: u32 = 0;
let floor: u32 = 0;
let averages: usize = 0;
let lasts: usize = 0;

export function setLazy(block: usize): void {
  lazyBlock = block;
  if (block === 0) return;
  clock = load<u32>(block);
  floor = load<u32>(block, 4);
  averages = load<u32>(block, 16);
  lasts = load<u32>(block, 20);
}

/** The first overwrite after `since`, or 0. The list ascends. */
function overwriteAfter(since: u32): u32 {
  const list = load<u32>(lazyBlock, 24);
  const count = load<u32>(lazyBlock, 8);
  let low: u32 = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(list + (middle << 2)) > since) high = middle;
    else low = middle + 1;
  }
  return low < count ? load<u32>(list + (low << 2)) : 0;
}

@inline
function power(place: u32, digit: u32): f64 {
  return load<f64>(lazyBlock + (place << 11) + (digit << 3), 64);
}

/** Does the averages, and the overwrite, that a row has missed. */
export function catchUpRow<T>(row: u32, w: usize, rowBytes: u32): void {
  const since = max<u32>(load<u32>(lasts + (row << 2)), floor);
  if (since >= clock) return;
  const overwrite = overwriteAfter(since);
  const missed = (overwrite !== 0 ? overwrite : clock) - since;
  const momentum = load<f64>(lazyBlock, 32);
  const complement = load<f64>(lazyBlock, 40);
  const low = power(0, missed & 255) * power(1, (missed >> 8) & 255);
  const p = low * power(2, (missed >> 16) & 255) * power(3, missed >> 24);
  const q = complement * (momentum === 1 ? <f64>missed : (1 - p) / (1 - momentum));
  const kind = overwrite !== 0 ? EMA_OVERWRITE : EMA_UPDATE;
  averageRow<T>(w, averages + row * rowBytes, rowBytes, splat<T>(p), splat<T>(q), kind);
}

/** The average of the running step, of a row that it updated. */
export function averageTouched<T>(row: u32, w: usize, rowBytes: u32): void {
  const m = splat<T>(load<f64>(lazyBlock, 32));
  const c = splat<T>(load<f64>(lazyBlock, 40));
  averageRow<T>(w, averages + row * rowBytes, rowBytes, m, c, load<i32>(lazyBlock, 12));
  store<u32>(lasts + (row << 2), clock + 1);
}

/** Brings `rows` rows from `first` on up to date. */
export function catchUp<T>(variable: usize, rowSize: u32, first: u32, rows: u32, block: usize): void {
  setLazy(block);
  const rowBytes = rowSize * <u32>sizeof<T>();
  for (let row = first; row < first + rows; row++) {
    catchUpRow<T>(row, variable + row * rowBytes, rowBytes);
    store<u32>(lasts + (row << 2), clock);
  }
}

/** As touch.ts does for the variable. */
export function touchLazy(list: usize, from: u32, to: u32, rowBytes: u32): u32 {
  const end = list + (to << 3);
  let seen: u32 = 0;
  for (let at = list + (from << 3); at < end; at += 8) seen ^= load<u8>(lasts + (load<u32>(at, 4) << 2));
  const reach = min<u32>(rowBytes, 1024);
  for (let offset: u32 = 0; offset < reach; offset += 128) {
    const second = min<u32>(64, reach - 1 - offset);
    for (let at = list + (from << 3); at < end; at += 8) {
      const row = averages + load<u32>(at, 4) * rowBytes + offset;
      seen ^= <u32>load<u8>(row) ^ load<u8>(row + second);
    }
  }
  return seen;
}
