import { type BehindRows, type DType, OVERWRITE_FLAG } from "@shardgrad/workers";
import { CURRENT, LazyRows, OVERWRITE_DUE } from "./lazy-rows.js";

/**
 * How far rows of a table with lazy averages are behind.
 * @param buffer - the segment's memory
 * @param block - byte offset of the lazy block
 * @param rows - row numbers within the segment, or how many of its rows from the first on
 */
export function behindRows(
  dtype: DType,
  buffer: ArrayBufferLike,
  block: number,
  rows: Uint32Array | number,
): BehindRows {
  const lazy = new LazyRows(dtype);
  lazy.open(new Uint32Array(buffer), new Float64Array(buffer), block);
  const named = typeof rows === "number" ? undefined : rows;
  const words = new Uint32Array(typeof rows === "number" ? rows : rows.length);
  const factors = [0, 0];
  const numbers = new Map<number, number>();
  let lastKey = -1;
  let word = 0;
  for (let i = 0; i < words.length; i++) {
    const state = lazy.look(named === undefined ? i : named[i]!);
    if (state === CURRENT) continue;
    const { steps, p, q } = lazy.missed;
    const isDue = state === OVERWRITE_DUE;
    const key = 2 * steps + (isDue ? 1 : 0);
    // Neighbours have often missed the same: those that no step has touched yet.
    if (key !== lastKey) {
      const known = numbers.get(key);
      if (known === undefined) factors.push(p, q);
      word = known ?? factors.length / 2 - 1 + (isDue ? OVERWRITE_FLAG : 0);
      if (known === undefined) numbers.set(key, word);
      lastKey = key;
    }
    words[i] = word;
  }
  return { words, factors: Float64Array.from(factors) };
}

/** The factors that a word of `BehindRows` names; undefined where the row is up to date. */
export function factorsOf(
  { words, factors }: BehindRows,
  i: number,
): { readonly p: number; readonly q: number; readonly isDue: boolean } | undefined {
  const word = words[i]!;
  const number = word & ~OVERWRITE_FLAG;
  if (number === 0) return undefined;
  return { p: factors[2 * number]!, q: factors[2 * number + 1]!, isDue: word >= OVERWRITE_FLAG };
}
