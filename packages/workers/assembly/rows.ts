// Sparse Adagrad: only the rows named by the slices, each by the lane that owns it. With `rowwise` accumulators have one
// element a row.
import {
  CLIP_NONE,
  CLIP_NORM,
  CLIP_SCALE,
  ClipAny,
  ClipNone,
  ClipNorm,
  ClipScale,
  ClipValue,
} from "./formulas";
import { splat } from "./lanes";
import { averageTouched, catchUpRow, lazyBlock, setLazy, touchLazy } from "./lazy";
import { manySlices, oneSlice } from "./row";
import { entries, sortedEntries } from "./slices";
import { updateRow } from "./rowwise";
import { touchEntries, touchRowwise } from "./touch";
import { beginRows, endRows, setVersions } from "./versions";

export function adagradRows<T>(
  variable: usize,
  accumulator: usize,
  rowSize: u32,
  indices: usize,
  values: usize,
  sliceCount: u32,
  lane: u32,
  laneCount: u32,
  ownerShift: u32,
  scratch: usize,
  learningRate: f64,
  epsilon: f64,
  clipKind: i32,
  clipA: f64,
  clipB: f64,
  perRow: u32,
  versions: usize,
  versionMask: u32,
  lazy: usize,
  dealt: usize,
  rowwise: bool,
): void {
  const rowBytes = rowSize * <u32>sizeof<T>();
  const list = sortedEntries(indices, sliceCount, lane, laneCount, ownerShift, versionMask, rowBytes, scratch, dealt);
  const rate = splat<T>(learningRate);
  const eps = splat<T>(epsilon);
  const a = splat<T>(clipA);
  const b = splat<T>(clipB);
  const w = variable;
  const s = accumulator;
  const n = rowBytes;
  const k = clipKind;
  const o = scratch;
  setLazy(lazy);
  setVersions(versions, versionMask, ownerShift, (scratch + 63) & ~63);
  // binary16 spends its time in rounding: one loop that looks at the kind does.
  if (sizeof<T>() === 2) pass<T, ClipAny>(w, s, n, list, values, o, rate, eps, k, a, b, perRow, rowwise);
  else if (k === CLIP_NONE) pass<T, ClipNone>(w, s, n, list, values, o, rate, eps, k, a, b, perRow, rowwise);
  else if (k === CLIP_SCALE) pass<T, ClipScale>(w, s, n, list, values, o, rate, eps, k, a, b, perRow, rowwise);
  else if (k === CLIP_NORM) pass<T, ClipNorm>(w, s, n, list, values, o, rate, eps, k, a, b, perRow, rowwise);
  else pass<T, ClipValue>(w, s, n, list, values, o, rate, eps, k, a, b, perRow, rowwise);
}

/** Bytes of variable rows in one block; the accumulator rows and slices come on top. */
const BLOCK_BYTES: u32 = 16384;
const MOST_ROWS: u32 = 64;

function pass<T, Clip>(
  variable: usize,
  accumulator: usize,
  rowBytes: u32,
  list: usize,
  values: usize,
  scratch: usize,
  rate: v128,
  epsilon: v128,
  clipKind: i32,
  a: v128,
  b: v128,
  perRow: u32,
  rowwise: bool,
): void {
  const accumulatorBytes = rowwise ? <u32>sizeof<T>() : rowBytes;
  const block = min<u32>(max<u32>(BLOCK_BYTES / rowBytes, 1), MOST_ROWS);
  const count = entries;
  let touched: u32 = 0;
  let seen: u32 = 0;
  let next: u32 = 0;
  while (next < count) {
    const blockEnd = min<u32>(next + block, count);
    const touchEnd = min<u32>(blockEnd + block, count);
    if (touched < touchEnd) {
      seen ^= rowwise
        ? touchRowwise(list, touched, touchEnd, variable, accumulator, values, rowBytes, accumulatorBytes)
        : touchEntries(list, touched, touchEnd, variable, accumulator, values, rowBytes);
      if (lazyBlock !== 0) seen ^= touchLazy(list, touched, touchEnd, rowBytes);
      touched = touchEnd;
    }
    const first = next;
    beginRows(list, first, blockEnd);
    while (next < blockEnd) {
      const start = next;
      const entry = load<u64>(list + (start << 3));
      const row = <u32>(entry >> 32);
      next++;
      while (next < count && load<u32>(list + (next << 3) + 4) === row) next++;
      const w = variable + row * rowBytes;
      const s = accumulator + row * accumulatorBytes;
      if (lazyBlock !== 0) catchUpRow<T>(row, w, rowBytes);
      if (rowwise) {
        const own = list + (start << 3);
        const each = perRow === 0;
        updateRow<T, Clip>(w, s, own, next - start, values, rowBytes, rate, epsilon, clipKind, a, b, each);
      } else if (next - start === 1) {
        oneSlice<T, Clip>(w, s, values + <u32>entry, rowBytes, rate, epsilon, clipKind, a, b);
      } else {
        const own = list + (start << 3);
        manySlices<T, Clip>(w, s, own, next - start, values, rowBytes, rate, epsilon, clipKind, a, b, perRow);
      }
      if (lazyBlock !== 0) averageTouched<T>(row, w, rowBytes);
    }
    endRows(list, first, next);
  }
  // Stored so that the loads stay. The lists are not needed any more.
  store<u32>(scratch, seen);
}
