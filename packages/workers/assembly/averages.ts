// The average of one row.
import { averaged, EMA_OVERWRITE } from "./formulas";
import { loadPart, loadVector, storePart, storeVector, vectorBytes } from "./lanes";

/** e = m * e + c * w; with EMA_OVERWRITE the row takes its average. */
export function averageRow<T>(w: usize, e: usize, rowBytes: u32, m: v128, c: v128, emaKind: i32): void {
  const size = vectorBytes<T>();
  let at: u32 = 0;
  for (; at + size <= rowBytes; at += size) {
    const average = averaged<T>(loadVector<T>(e + at), loadVector<T>(w + at), m, c);
    storeVector<T>(e + at, average);
    if (emaKind === EMA_OVERWRITE) storeVector<T>(w + at, average);
  }
  const rest = rowBytes - at;
  if (rest === 0) return;
  const average = averaged<T>(loadPart<T>(e + at, rest), loadPart<T>(w + at, rest), m, c);
  storePart<T>(e + at, average, rest);
  if (emaKind === EMA_OVERWRITE) storePart<T>(w + at, average, rest);
}
