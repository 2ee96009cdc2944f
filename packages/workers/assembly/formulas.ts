// The element formulas. Each operation rounds by itself; their order is part of the results.
import { add, divide, limit, multiply, squareRoot, subtract } from "./lanes";

// How a gradient element g is clipped with the scalars a and b, and what is done with the average.
// The numbers are the callers' too.
@inline
export const CLIP_NONE = 0;
/** g * a */
@inline
export const CLIP_SCALE = 1;
/** (g * a) / b */
@inline
export const CLIP_NORM = 2;
/** g limited to [-a, a] */
@inline
export const CLIP_VALUE = 3;

@inline
export const EMA_NONE = 0;
/** average = m * average + c * w */
@inline
export const EMA_UPDATE = 1;
/** the same, then w = average */
@inline
export const EMA_OVERWRITE = 2;

@inline
export function clipped<T>(gradient: v128, kind: i32, a: v128, b: v128): v128 {
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
