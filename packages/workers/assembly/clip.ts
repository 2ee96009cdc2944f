// Clipping of gradients in place, for the steps that need the clipped gradient itself.
import { CLIP_NORM, CLIP_SCALE, CLIP_VALUE, clipped } from "./formulas";
import { loadPart, loadVector, splat, storePart, storeVector, vectorBytes } from "./lanes";

export function clip<T>(values: usize, count: u32, clipKind: i32, clipA: f64, clipB: f64): void {
  const bytes = count * <u32>sizeof<T>();
  const a = splat<T>(clipA);
  const b = splat<T>(clipB);
  if (sizeof<T>() === 2) pass<T>(values, bytes, clipKind, a, b);
  else if (clipKind === CLIP_SCALE) pass<T>(values, bytes, CLIP_SCALE, a, b);
  else if (clipKind === CLIP_NORM) pass<T>(values, bytes, CLIP_NORM, a, b);
  else if (clipKind === CLIP_VALUE) pass<T>(values, bytes, CLIP_VALUE, a, b);
}

@inline
function pass<T>(values: usize, bytes: u32, clipKind: i32, a: v128, b: v128): void {
  const size = vectorBytes<T>();
  let at: u32 = 0;
  for (; at + size <= bytes; at += size) {
    storeVector<T>(values + at, clipped<T>(loadVector<T>(values + at), clipKind, a, b));
  }
  const rest = bytes - at;
  if (rest !== 0) storePart<T>(values + at, clipped<T>(loadPart<T>(values + at, rest), clipKind, a, b), rest);
}
