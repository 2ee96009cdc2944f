// Adagrad with one accumulator element a row: accumulator += the mean over the row of g * g. The squares are summed in
// float64, in the order of norms.ts, and their mean is rounded once to the dtype.
import { averageRow } from "./averages";
import { ClipAny, clipped, EMA_NONE } from "./formulas";
import {
  add,
  divide,
  loadPart,
  loadUpTo,
  loadVector,
  multiply,
  splat,
  squareRoot,
  storePart,
  storeUpTo,
  storeVector,
  subtract,
  vectorBytes,
} from "./lanes";

export function rowwiseDense<T>(
  variable: usize,
  accumulator: usize,
  average: usize,
  gradient: usize,
  rows: u32,
  rowSize: u32,
  learningRate: f64,
  epsilon: f64,
  clipKind: i32,
  clipA: f64,
  clipB: f64,
  emaMomentum: f64,
  emaComplement: f64,
  emaKind: i32,
): void {
  const rowBytes = rowSize * <u32>sizeof<T>();
  const rate = splat<T>(learningRate);
  const eps = splat<T>(epsilon);
  const a = splat<T>(clipA);
  const b = splat<T>(clipB);
  const m = splat<T>(emaMomentum);
  const c = splat<T>(emaComplement);
  for (let row: u32 = 0; row < rows; row++) {
    const w = variable + row * rowBytes;
    const s = accumulator + row * <u32>sizeof<T>();
    const g = gradient + row * rowBytes;
    updateRow<T, ClipAny>(w, s, 0, 0, g, rowBytes, rate, eps, clipKind, a, b, false);
    if (emaKind !== EMA_NONE) averageRow<T>(w, average + row * rowBytes, rowBytes, m, c, emaKind);
  }
}

/** One row and its slices: `count` entries of `list`, or with a count of 0 the dense gradient at `values`. */
export function updateRow<T, Clip>(
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
  squareEach: bool,
): void {
  const size = vectorBytes<T>();
  const element = <u32>sizeof<T>();
  let sum = loadPart<T>(s, element);
  if (squareEach && count > 1) {
    for (let i: u32 = 0; i < count; i++) {
      const mean = meanSquare<T, Clip>(list + (i << 3), 1, values, rowBytes, clipKind, a, b);
      sum = add<T>(sum, splat<T>(mean));
    }
  } else {
    sum = add<T>(sum, splat<T>(meanSquare<T, Clip>(list, count, values, rowBytes, clipKind, a, b)));
  }
  storePart<T>(s, sum, element);
  const root = everywhere<T>(squareRoot<T>(add<T>(sum, epsilon)));
  if (count > 1) stepMany<T, Clip>(w, list, count, values, rowBytes, rate, root, clipKind, a, b);
  else stepOne<T, Clip>(w, list, count, values, rowBytes, rate, root, clipKind, a, b);
}

/** One slice, or the dense gradient. */
@inline
function stepOne<T, Clip>(
  w: usize,
  list: usize,
  count: u32,
  values: usize,
  rowBytes: u32,
  rate: v128,
  root: v128,
  clipKind: i32,
  a: v128,
  b: v128,
): void {
  const size = vectorBytes<T>();
  const from = count === 0 ? values : values + load<u32>(list);
  // A sum of slices starts from +0, so a slice of -0 counts as +0; adding -0 changes nothing.
  const zero = splat<T>(count === 0 ? -0.0 : 0);
  let at: u32 = 0;
  for (; at + size <= rowBytes; at += size) {
    const g = add<T>(zero, clipped<T, Clip>(loadVector<T>(from + at), clipKind, a, b));
    storeVector<T>(w + at, stepped<T>(loadVector<T>(w + at), g, rate, root));
  }
  const rest = rowBytes - at;
  if (rest === 0) return;
  const g = add<T>(zero, clipped<T, Clip>(loadPart<T>(from + at, rest), clipKind, a, b));
  storePart<T>(w + at, stepped<T>(loadPart<T>(w + at, rest), g, rate, root), rest);
}

/** Several slices, four vectors of columns at a time. */
@inline
function stepMany<T, Clip>(
  w: usize,
  list: usize,
  count: u32,
  values: usize,
  rowBytes: u32,
  rate: v128,
  root: v128,
  clipKind: i32,
  a: v128,
  b: v128,
): void {
  const size = vectorBytes<T>();
  let at: u32 = 0;
  for (; at + 4 * size <= rowBytes; at += 4 * size) {
    let g0 = splat<T>(0);
    let g1 = g0;
    let g2 = g0;
    let g3 = g0;
    for (let i: u32 = 0; i < count; i++) {
      const slice = values + load<u32>(list + (i << 3)) + at;
      g0 = add<T>(g0, clipped<T, Clip>(loadVector<T>(slice), clipKind, a, b));
      g1 = add<T>(g1, clipped<T, Clip>(loadVector<T>(slice + size), clipKind, a, b));
      g2 = add<T>(g2, clipped<T, Clip>(loadVector<T>(slice + 2 * size), clipKind, a, b));
      g3 = add<T>(g3, clipped<T, Clip>(loadVector<T>(slice + 3 * size), clipKind, a, b));
    }
    const x = w + at;
    storeVector<T>(x, stepped<T>(loadVector<T>(x), g0, rate, root));
    storeVector<T>(x + size, stepped<T>(loadVector<T>(x + size), g1, rate, root));
    storeVector<T>(x + 2 * size, stepped<T>(loadVector<T>(x + 2 * size), g2, rate, root));
    storeVector<T>(x + 3 * size, stepped<T>(loadVector<T>(x + 3 * size), g3, rate, root));
  }
  while (at < rowBytes) {
    const part = min<u32>(rowBytes - at, size);
    const g = summed<T, Clip>(list, count, values + at, part, clipKind, a, b);
    storeUpTo<T>(w + at, stepped<T>(loadUpTo<T>(w + at, part), g, rate, root), part);
    at += part;
  }
}

@inline
function stepped<T>(w: v128, g: v128, rate: v128, root: v128): v128 {
  return subtract<T>(w, divide<T>(multiply<T>(rate, g), root));
}

/** A vector, or the `bytes` of one, of the sum of the clipped slices in list order. */
@inline
function summed<T, Clip>(
  list: usize,
  count: u32,
  values: usize,
  bytes: u32,
  clipKind: i32,
  a: v128,
  b: v128,
): v128 {
  if (count === 0) return clipped<T, Clip>(loadUpTo<T>(values, bytes), clipKind, a, b);
  // A sum starts from +0, so a slice of -0 counts as +0.
  let g = splat<T>(0);
  for (let i: u32 = 0; i < count; i++) {
    const slice = values + load<u32>(list + (i << 3));
    g = add<T>(g, clipped<T, Clip>(loadUpTo<T>(slice, bytes), clipKind, a, b));
  }
  return g;
}

/** The mean over the row of the squares of that sum. */
function meanSquare<T, Clip>(
  list: usize,
  count: u32,
  values: usize,
  rowBytes: u32,
  clipKind: i32,
  a: v128,
  b: v128,
): f64 {
  const size = vectorBytes<T>();
  // A row of no elements has no mean; it adds nothing.
  if (rowBytes === 0) return 0;
  // Squares have no sign, so one slice is as good as a dense gradient.
  if (count === 1) {
    values += load<u32>(list);
    count = 0;
  }
  const group: u32 = 8 * <u32>sizeof<T>();
  let s01 = f64x2.splat(0);
  let s23 = f64x2.splat(0);
  let s45 = f64x2.splat(0);
  let s67 = f64x2.splat(0);
  let at: u32 = 0;
  for (; at + group <= rowBytes; at += group) {
    const v0 = summed<T, Clip>(list, count, values + at, size, clipKind, a, b);
    const v1 = summed<T, Clip>(list, count, values + at + size, size, clipKind, a, b);
    if (sizeof<T>() === 8) {
      s01 = f64x2.add(s01, f64x2.mul(v0, v0));
      s23 = f64x2.add(s23, f64x2.mul(v1, v1));
      const v2 = summed<T, Clip>(list, count, values + at + 2 * size, size, clipKind, a, b);
      const v3 = summed<T, Clip>(list, count, values + at + 3 * size, size, clipKind, a, b);
      s45 = f64x2.add(s45, f64x2.mul(v2, v2));
      s67 = f64x2.add(s67, f64x2.mul(v3, v3));
    } else {
      s01 = f64x2.add(s01, squaredLow(v0));
      s23 = f64x2.add(s23, squaredLow(v128.shuffle<i64>(v0, v0, 1, 0)));
      s45 = f64x2.add(s45, squaredLow(v1));
      s67 = f64x2.add(s67, squaredLow(v128.shuffle<i64>(v1, v1, 1, 0)));
    }
  }
  const all = f64x2.add(f64x2.add(s01, s23), f64x2.add(s45, s67));
  let sum = f64x2.extract_lane(all, 0) + f64x2.extract_lane(all, 1);
  for (; at < rowBytes; at += <u32>sizeof<T>()) {
    const g = summed<T, Clip>(list, count, values + at, <u32>sizeof<T>(), clipKind, a, b);
    const value = sizeof<T>() === 8 ? f64x2.extract_lane(g, 0) : <f64>f32x4.extract_lane(g, 0);
    sum += value * value;
  }
  return sum / <f64>(rowBytes / <u32>sizeof<T>());
}

@inline
function squaredLow(values: v128): v128 {
  const pair = f64x2.promote_low_f32x4(values);
  return f64x2.mul(pair, pair);
}

/** The first lane in every lane. */
@inline
function everywhere<T>(value: v128): v128 {
  if (sizeof<T>() === 8) return i64x2.splat(i64x2.extract_lane(value, 0));
  return i32x4.splat(i32x4.extract_lane(value, 0));
}
