// Dense Adagrad with clipping, moving average and overwrite in one pass over memory.
import {
  averaged,
  CLIP_NONE,
  CLIP_NORM,
  CLIP_SCALE,
  ClipAny,
  ClipNone,
  ClipNorm,
  ClipScale,
  ClipValue,
  clipped,
  EMA_NONE,
  EMA_UPDATE,
  EmaNone,
  EmaOverwrite,
  EmaUpdate,
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
  const w = variable;
  const s = accumulator;
  const e = average;
  const g = gradient;
  const k = clipKind;
  const n = bytes;
  // binary16 spends its time in rounding: loops that look at the clip kind do.
  if (sizeof<T>() === 2) {
    if (emaKind === EMA_NONE) pass<T, ClipAny, EmaNone>(w, s, e, g, n, rate, eps, k, a, b, m, c);
    else if (emaKind === EMA_UPDATE) pass<T, ClipAny, EmaUpdate>(w, s, e, g, n, rate, eps, k, a, b, m, c);
    else pass<T, ClipAny, EmaOverwrite>(w, s, e, g, n, rate, eps, k, a, b, m, c);
  } else if (emaKind === EMA_NONE) {
    if (k === CLIP_NONE) pass<T, ClipNone, EmaNone>(w, s, e, g, n, rate, eps, k, a, b, m, c);
    else if (k === CLIP_SCALE) pass<T, ClipScale, EmaNone>(w, s, e, g, n, rate, eps, k, a, b, m, c);
    else if (k === CLIP_NORM) pass<T, ClipNorm, EmaNone>(w, s, e, g, n, rate, eps, k, a, b, m, c);
    else pass<T, ClipValue, EmaNone>(w, s, e, g, n, rate, eps, k, a, b, m, c);
  } else if (emaKind === EMA_UPDATE) {
    if (k === CLIP_NONE) pass<T, ClipNone, EmaUpdate>(w, s, e, g, n, rate, eps, k, a, b, m, c);
    else if (k === CLIP_SCALE) pass<T, ClipScale, EmaUpdate>(w, s, e, g, n, rate, eps, k, a, b, m, c);
    else if (k === CLIP_NORM) pass<T, ClipNorm, EmaUpdate>(w, s, e, g, n, rate, eps, k, a, b, m, c);
    else pass<T, ClipValue, EmaUpdate>(w, s, e, g, n, rate, eps, k, a, b, m, c);
  } else {
    if (k === CLIP_NONE) pass<T, ClipNone, EmaOverwrite>(w, s, e, g, n, rate, eps, k, a, b, m, c);
    else if (k === CLIP_SCALE) pass<T, ClipScale, EmaOverwrite>(w, s, e, g, n, rate, eps, k, a, b, m, c);
    else if (k === CLIP_NORM) pass<T, ClipNorm, EmaOverwrite>(w, s, e, g, n, rate, eps, k, a, b, m, c);
    else pass<T, ClipValue, EmaOverwrite>(w, s, e, g, n, rate, eps, k, a, b, m, c);
  }
}

// The offset, not the addresses, is counted: an array may end at 4 GiB, where an address wraps to 0.
function pass<T, Clip, Ema>(
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
  m: v128,
  c: v128,
): void {
  const size = vectorBytes<T>();
  let at: u32 = 0;
  for (; at + size <= bytes; at += size) {
    const g = clipped<T, Clip>(loadVector<T>(gradient + at), clipKind, a, b);
    const s = add<T>(loadVector<T>(accumulator + at), multiply<T>(g, g));
    storeVector<T>(accumulator + at, s);
    let w = stepped<T>(loadVector<T>(variable + at), s, g, rate, epsilon);
    if (sizeof<Ema>() !== sizeof<EmaNone>()) {
      const e = averaged<T>(loadVector<T>(average + at), w, m, c);
      storeVector<T>(average + at, e);
      if (sizeof<Ema>() === sizeof<EmaOverwrite>()) w = e;
    }
    storeVector<T>(variable + at, w);
  }
  const rest = bytes - at;
  if (rest === 0) return;
  const g = clipped<T, Clip>(loadPart<T>(gradient + at, rest), clipKind, a, b);
  const s = add<T>(loadPart<T>(accumulator + at, rest), multiply<T>(g, g));
  storePart<T>(accumulator + at, s, rest);
  let w = stepped<T>(loadPart<T>(variable + at, rest), s, g, rate, epsilon);
  if (sizeof<Ema>() !== sizeof<EmaNone>()) {
    const e = averaged<T>(loadPart<T>(average + at, rest), w, m, c);
    storePart<T>(average + at, e, rest);
    if (sizeof<Ema>() === sizeof<EmaOverwrite>()) w = e;
  }
  storePart<T>(variable + at, w, rest);
}
