// The moving average alone, for variables whose update was not dense.
import { averaged, EMA_NONE, EMA_UPDATE, EmaOverwrite, EmaUpdate } from "./formulas";
import { loadPart, loadVector, splat, storePart, storeVector, vectorBytes } from "./lanes";

export function ema<T>(
  variable: usize,
  average: usize,
  count: u32,
  emaMomentum: f64,
  emaComplement: f64,
  emaKind: i32,
): void {
  const bytes = count * <u32>sizeof<T>();
  const m = splat<T>(emaMomentum);
  const c = splat<T>(emaComplement);
  if (emaKind === EMA_UPDATE) pass<T, EmaUpdate>(variable, average, bytes, m, c);
  else if (emaKind !== EMA_NONE) pass<T, EmaOverwrite>(variable, average, bytes, m, c);
}

function pass<T, Ema>(variable: usize, average: usize, bytes: u32, m: v128, c: v128): void {
  const size = vectorBytes<T>();
  let at: u32 = 0;
  for (; at + size <= bytes; at += size) {
    const e = averaged<T>(loadVector<T>(average + at), loadVector<T>(variable + at), m, c);
    storeVector<T>(average + at, e);
    if (sizeof<Ema>() === sizeof<EmaOverwrite>()) storeVector<T>(variable + at, e);
  }
  const rest = bytes - at;
  if (rest === 0) return;
  const e = averaged<T>(loadPart<T>(average + at, rest), loadPart<T>(variable + at, rest), m, c);
  storePart<T>(average + at, e, rest);
  if (sizeof<Ema>() === sizeof<EmaOverwrite>()) storePart<T>(variable + at, e, rest);
}
