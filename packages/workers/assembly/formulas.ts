// The element formulas. Each operation rounds by itself; their order is part of the results.
import { add, divide, limit, multiply, squareRoot, subtract } from "./lanes";

// How a gradient element g is clipped with the scalars a and b, and what is done with the average. The numbers are the
// callers' too.
export const CLIP_NONE = 0;
/** g * a */
export const CLIP_SCALE = 1;
/** (g * a) / b */
export const CLIP_NORM = 2;
/** g limited to [-a, a] */
export const CLIP_VALUE = 3;

export const EMA_NONE = 0;
/** average = m * average + c * w */
export const EMA_UPDATE = 1;
/** the same, then w = average */
export const EMA_OVERWRITE = 2;

// The same kinds as types, told apart by their size. A size is known while compiling, so each kind gets loops of its
// own that never look at it. (Numbers passed to inlined functions do not do that: the optimiser notices how alike the
// loops are and merges them again.) With ClipAny the number decides at run time.
export type ClipNone = u8;
export type ClipScale = u16;
export type ClipNorm = u32;
export type ClipValue = u64;
export type ClipAny = v128;

export type EmaNone = u8;
export type EmaUpdate = u16;
export type EmaOverwrite = u32;

@inline
export function clipped<T, Clip>(gradient: v128, kind: i32, a: v128, b: v128): v128 {
  if (sizeof<Clip>() === sizeof<ClipNone>()) return gradient;
  if (sizeof<Clip>() === sizeof<ClipScale>()) return multiply<T>(gradient, a);
  if (sizeof<Clip>() === sizeof<ClipNorm>()) return divide<T>(multiply<T>(gradient, a), b);
  if (sizeof<Clip>() === sizeof<ClipValue>()) return limit<T>(gradient, a);
  if (kind === CLIP_SCALE) return multiply<T>(gradient, a);
  if (kind === CLIP_NORM) return divide<T>(multiply<T>(gradient, a), b);
  return kind === CLIP_VALUE ? limit<T>(gradient, a) : gradient;
}

/** w - (rate * g) / sqrt(accumulator + epsilon) */
@inline
export function stepped<T>(w: v128, accumulator: v128, gradient: v128, rate: v128, epsilon: v128): v128 {
  const root = squareRoot<T>(add<T>(accumulator, epsilon));
  return subtract<T>(w, divide<T>(multiply<T>(rate, gradient), root));
}

@inline
export function averaged<T>(average: v128, w: v128, momentum: v128, complement: v128): v128 {
  return add<T>(multiply<T>(momentum, average), multiply<T>(complement, w));
}
