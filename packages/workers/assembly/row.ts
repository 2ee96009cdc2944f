// The update of one row by its slices.
import { clipped, stepped } from "./formulas";
import {
  add,
  loadPart,
  loadUpTo,
  loadVector,
  multiply,
  splat,
  storePart,
  storeUpTo,
  storeVector,
  vectorBytes,
} from "./lanes";

/** The usual case: one slice. A sum starts from +0, so a slice of -0 counts as +0. */
@inline
export function oneSlice<T, Clip>(
  w: usize,
  s: usize,
  values: usize,
  rowBytes: u32,
  rate: v128,
  epsilon: v128,
  clipKind: i32,
  a: v128,
  b: v128,
): void {
  const size = vectorBytes<T>();
  const zero = splat<T>(0);
  let at: u32 = 0;
  for (; at + size <= rowBytes; at += size) {
    const g = clipped<T, Clip>(loadVector<T>(values + at), clipKind, a, b);
    const sum = add<T>(loadVector<T>(s + at), multiply<T>(g, g));
    storeVector<T>(s + at, sum);
    storeVector<T>(w + at, stepped<T>(loadVector<T>(w + at), sum, add<T>(zero, g), rate, epsilon));
  }
  const rest = rowBytes - at;
  if (rest === 0) return;
  const g = clipped<T, Clip>(loadPart<T>(values + at, rest), clipKind, a, b);
  const sum = add<T>(loadPart<T>(s + at, rest), multiply<T>(g, g));
  storePart<T>(s + at, sum, rest);
  storePart<T>(w + at, stepped<T>(loadPart<T>(w + at, rest), sum, add<T>(zero, g), rate, epsilon), rest);
}

/** Several slices of one row, in list order. Column by column, four vectors at a time: a line of each slice. */
@inline
export function manySlices<T, Clip>(
  w: usize,
  s: usize,
  list: usize,
  count: u32,
  values: usize,
  rowBytes: u32,
  rate: v128,
  epsilon: v128,
  clipKind: i32,
  a: v128,
  b: v128,
  perRow: u32,
): void {
  const size = vectorBytes<T>();
  const zero = splat<T>(0);
  const squareEach = perRow === 0;
  let at: u32 = 0;
  for (; at + 4 * size <= rowBytes; at += 4 * size) {
    let s0 = loadVector<T>(s + at);
    let s1 = loadVector<T>(s + at + size);
    let s2 = loadVector<T>(s + at + 2 * size);
    let s3 = loadVector<T>(s + at + 3 * size);
    let g0 = zero;
    let g1 = zero;
    let g2 = zero;
    let g3 = zero;
    for (let i: u32 = 0; i < count; i++) {
      const slice = values + load<u32>(list + (i << 3)) + at;
      const v0 = clipped<T, Clip>(loadVector<T>(slice), clipKind, a, b);
      const v1 = clipped<T, Clip>(loadVector<T>(slice + size), clipKind, a, b);
      const v2 = clipped<T, Clip>(loadVector<T>(slice + 2 * size), clipKind, a, b);
      const v3 = clipped<T, Clip>(loadVector<T>(slice + 3 * size), clipKind, a, b);
      g0 = add<T>(g0, v0);
      g1 = add<T>(g1, v1);
      g2 = add<T>(g2, v2);
      g3 = add<T>(g3, v3);
      if (squareEach) {
        s0 = add<T>(s0, multiply<T>(v0, v0));
        s1 = add<T>(s1, multiply<T>(v1, v1));
        s2 = add<T>(s2, multiply<T>(v2, v2));
        s3 = add<T>(s3, multiply<T>(v3, v3));
      }
    }
    if (!squareEach) {
      s0 = add<T>(s0, multiply<T>(g0, g0));
      s1 = add<T>(s1, multiply<T>(g1, g1));
      s2 = add<T>(s2, multiply<T>(g2, g2));
      s3 = add<T>(s3, multiply<T>(g3, g3));
    }
    storeVector<T>(s + at, s0);
    storeVector<T>(s + at + size, s1);
    storeVector<T>(s + at + 2 * size, s2);
    storeVector<T>(s + at + 3 * size, s3);
    const x = w + at;
    storeVector<T>(x, stepped<T>(loadVector<T>(x), s0, g0, rate, epsilon));
    storeVector<T>(x + size, stepped<T>(loadVector<T>(x + size), s1, g1, rate, epsilon));
    storeVector<T>(x + 2 * size, stepped<T>(loadVector<T>(x + 2 * size), s2, g2, rate, epsilon));
    storeVector<T>(x + 3 * size, stepped<T>(loadVector<T>(x + 3 * size), s3, g3, rate, epsilon));
  }
  // Fewer than four vectors are left, the last of them perhaps in part.
  while (at < rowBytes) {
    const part = min<u32>(rowBytes - at, size);
    let sum = loadUpTo<T>(s + at, part);
    let g = zero;
    for (let i: u32 = 0; i < count; i++) {
      const slice = values + load<u32>(list + (i << 3)) + at;
      const v = clipped<T, Clip>(loadUpTo<T>(slice, part), clipKind, a, b);
      g = add<T>(g, v);
      if (squareEach) sum = add<T>(sum, multiply<T>(v, v));
    }
    if (!squareEach) sum = add<T>(sum, multiply<T>(g, g));
    storeUpTo<T>(s + at, sum, part);
    storeUpTo<T>(w + at, stepped<T>(loadUpTo<T>(w + at, part), sum, g, rate, epsilon), part);
    at += part;
  }
}
