import { type BehindRows, type DType, lazyWords, OVERWRITE_FLAG } from "@shardgrad/workers";
import { LazyRows, OVERWRITE_DUE } from "./lazy-rows.js";

/** Averages up to which what a row has missed is looked up in an array: a map takes several times as long. */
const NEAR = 65_536;

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
  const memory = new Uint32Array(buffer);
  const lazy = new LazyRows(dtype);
  lazy.open(memory, new Float64Array(buffer), block);
  const [clock, floor, lasts] = [lazyWords.clock, lazyWords.floor, lazyWords.last].map(
    (word) => memory[block / 4 + word]!,
  ) as [number, number, number];
  const factors = [0, 0];
  // Words by the averages since a row was up to date, which say all of it.
  const near = new Uint32Array(Math.min(clock - floor, NEAR) + 1);
  const far = new Map<number, number>();
  const newWord = (row: number, age: number): number => {
    const isDue = lazy.look(row) === OVERWRITE_DUE;
    const { p, q } = lazy.missed;
    const word = factors.length / 2 + (isDue ? OVERWRITE_FLAG : 0);
    factors.push(p, q);
    if (age < near.length) near[age] = word;
    else far.set(age, word);
    return word;
  };
  const named = typeof rows === "number" ? undefined : rows;
  const words = new Uint32Array(typeof rows === "number" ? rows : rows.length);
  for (let i = 0; i < words.length; i++) {
    const row = named === undefined ? i : named[i]!;
    const last = memory[lasts / 4 + row]!;
    const age = clock - Math.max(last, floor);
    if (age <= 0) continue;
    const known = age < near.length ? near[age]! : far.get(age);
    words[i] = known || newWord(row, age);
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
