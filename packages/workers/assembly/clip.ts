// Clipping of gradients in place, for the steps that need the clipped gradient itself.
import { CLIP_NORM, CLIP_SCALE, CLIP_VALUE, ClipNorm, ClipScale, ClipValue, clipped } from "./formulas";
import { loadPart, loadVector, splat, storePart, storeVector, vectorBytes } from "./lanes";

export function clip<T>(values: usize, count: u32, clipKind: i32, clipA: f64, clipB: f64): void {
  const bytes = count * <u32>sizeof<T>();
  const a = splat<T>(clipA);
  const b = splat<T>(clipB);
  if (clipKind === CLIP_SCALE) pass<T, ClipScale>(values, bytes, a, b);
  else if (clipKind === CLIP_NORM) pass<T, ClipNorm>(values, bytes, a, b);
  else if (clipKind === CLIP_VALUE) pass<T, ClipValue>(values, bytes, a, b);
}

function pass<T, Clip>(values: usize, bytes: u32, a: v128, b: v128): void {
  const size = vectorBytes<T>();
  let at: u32 = 0;
  for (; at + size <= bytes; at += size) {
    storeVector<T>(values + at, clipped<T, Clip>(loadVector<T>(values + at), 0, a, b));
  }
  const rest = bytes - at;
  if (rest !== 0) storePart<T>(values + at, clipped<T, Clip>(loadPart<T>(values + at, rest), 0, a, b), rest);
}
