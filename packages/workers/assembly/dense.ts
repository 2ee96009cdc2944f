// Dense Adagrad with clipping, moving average and overwrite in one pass over memory.
import {
  averaged,
  CLIP_NONE,
  CLIP_NORM,
  CLIP_SCALE,
  CLIP_VALUE,
  clipped,
  EMA_NONE,
  EMA_OVERWRITE,
  EMA_UPDATE,
  stepped,
} from "./formulas";
import { add, loadPart, loadVector, multiply, splat, storePart, storeVector, vectorBytes } from "./lanes";

export function adagradDense<T>(
  variable: usize,
  accumulator: usize,
  average: usize,
  gradient: usize,
  count: u32,
  learningRate: f64,
  epsilon: f64,
  clipKind: i32,
  clipA: f64,
  clipB: f64,
  emaMomentum: f64,
  emaComplement: f64,
  emaKind: i32,
): void {
  const bytes = count * <u32>sizeof<T>();
  const rate = splat<T>(learningRate);
  const eps = splat<T>(epsilon);
  const a = splat<T>(clipA);
  const b = splat<T>(clipB);
  const m = splat<T>(emaMomentum);
  const c = splat<T>(emaComplement);
  const w = variable, s = accumulator, e = average, g = gradient, n = bytes;
  // One loop for each pair of kinds: constants here are constants in the inlined loop. binary16 spends its time in
  // rounding, so one loop that looks at the kinds does.
  if (sizeof<T>() === 2) pass<T>(w, s, e, g, n, rate, eps, clipKind, a, b, emaKind, m, c);
  else if (emaKind === EMA_NONE) {
    if (clipKind === CLIP_NONE) pass<T>(w, s, e, g, n, rate, eps, CLIP_NONE, a, b, EMA_NONE, m, c);
    else if (clipKind === CLIP_SCALE) pass<T>(w, s, e, g, n, rate, eps, CLIP_SCALE, a, b, EMA_NONE, m, c);
    else if (clipKind === CLIP_NORM) pass<T>(w, s, e, g, n, rate, eps, CLIP_NORM, a, b, EMA_NONE, m, c);
    else pass<T>(w, s, e, g, n, rate, eps, CLIP_VALUE, a, b, EMA_NONE, m, c);
  } else if (emaKind === EMA_UPDATE) {
    if (clipKind === CLIP_NONE) pass<T>(w, s, e, g, n, rate, eps, CLIP_NONE, a, b, EMA_UPDATE, m, c);
    else if (clipKind === CLIP_SCALE) pass<T>(w, s, e, g, n, rate, eps, CLIP_SCALE, a, b, EMA_UPDATE, m, c);
    else if (clipKind === CLIP_NORM) pass<T>(w, s, e, g, n, rate, eps, CLIP_NORM, a, b, EMA_UPDATE, m, c);
    else pass<T>(w, s, e, g, n, rate, eps, CLIP_VALUE, a, b, EMA_UPDATE, m, c);
  } else {
    if (clipKind === CLIP_NONE) pass<T>(w, s, e, g, n, rate, eps, CLIP_NONE, a, b, EMA_OVERWRITE, m, c);
    else if (clipKind === CLIP_SCALE) pass<T>(w, s, e, g, n, rate, eps, CLIP_SCALE, a, b, EMA_OVERWRITE, m, c);
    else if (clipKind === CLIP_NORM) pass<T>(w, s, e, g, n, rate, eps, CLIP_NORM, a, b, EMA_OVERWRITE, m, c);
    else pass<T>(w, s, e, g, n, rate, eps, CLIP_VALUE, a, b, EMA_OVERWRITE, m, c);
  }
}

// The offset, not the addresses, is counted: an array may end at 4 GiB, where an address wraps to 0.
@inline
function pass<T>(
  variable: usize,
  accumulator: usize,
  average: usize,
  gradient: usize,
  bytes: u32,
  rate: v128,
  epsilon: v128,
  clipKind: i32,
  a: v128,
  b: v128,
  emaKind: i32,
  m: v128,
  c: v128,
): void {
  const size = vectorBytes<T>();
  let at: u32 = 0;
  for (; at + size <= bytes; at += size) {
    const g = clipped<T>(loadVector<T>(gradient + at), clipKind, a, b);
    const s = add<T>(loadVector<T>(accumulator + at), multiply<T>(g, g));
    storeVector<T>(accumulator + at, s);
    let w = stepped<T>(loadVector<T>(variable + at), s, g, rate, epsilon);
    if (emaKind !== EMA_NONE) {
      const e = averaged<T>(loadVector<T>(average + at), w, m, c);
      storeVector<T>(average + at, e);
      if (emaKind === EMA_OVERWRITE) w = e;
    }
    storeVector<T>(variable + at, w);
  }
  const rest = bytes - at;
  if (rest === 0) return;
  const g = clipped<T>(loadPart<T>(gradient + at, rest), clipKind, a, b);
  const s = add<T>(loadPart<T>(accumulator + at, rest), multiply<T>(g, g));
  storePart<T>(accumulator + at, s, rest);
  let w = stepped<T>(loadPart<T>(variable + at, rest), s, g, rate, epsilon);
  if (emaKind !== EMA_NONE) {
    const e = averaged<T>(loadPart<T>(average + at, rest), w, m, c);
    storePart<T>(average + at, e, rest);
    if (emaKind === EMA_OVERWRITE) w = e;
  }
  storePart<T>(variable + at, w, rest);
}
