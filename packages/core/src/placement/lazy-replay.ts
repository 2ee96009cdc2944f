import {
  type AveragePlan,
  type BehindRows,
  lazyNumbers,
  lazyWords,
  type MemoryPool,
  type SegmentPlan,
  type UpdatePlan,
  viewOf,
} from "@shardgrad/workers";
import { factorsOf } from "../variable/behind-rows.js";
import { roundings } from "../variable/lazy-rows.js";
import { roundTo } from "../variable/values.js";

/** Bytes of a lazy block by which kernels find every row up to date: they look no further. */
export const CURRENT_BLOCK_BYTES = 64;

/** What a journal has of a segment that is kept lazily. */
export interface LazyEntry {
  readonly behind: BehindRows;
  /** Row numbers of the slices, copied; none: all rows in order. */
  readonly rows: Uint32Array;
}

/** Of a segment of a step that is being launched; undefined where nothing is kept lazily. */
export function lazyEntry({ behind, memory: arena, gradient }: SegmentPlan, memory: MemoryPool) {
  if (behind === undefined) return undefined;
  if (gradient.kind !== "slices") return { behind, rows: new Uint32Array(0) };
  const buffer = memory.bufferOf(memory.arenas[arena]!);
  return { behind, rows: new Uint32Array(buffer, gradient.indices, gradient.count).slice() };
}

export function lazyBytes(entry: LazyEntry | undefined): number {
  if (entry === undefined) return 0;
  const { behind, rows } = entry;
  return behind.words.byteLength + behind.factors.byteLength + rows.byteLength;
}

/**
 * Brings rows up to date that were behind when an accelerator did a step, with the factors that they had then and the
 * kernels' roundings. The host's lazy block is of a later time: it already has what the accelerator did.
 */
export function catchUpAgain(
  { dtype, rowSize }: UpdatePlan,
  { memory: arena, variable, average, count }: SegmentPlan,
  { behind, rows }: LazyEntry,
  memory: MemoryPool,
): void {
  const round = roundings[dtype];
  const buffer = memory.bufferOf(memory.arenas[arena]!);
  const w = viewOf(dtype, buffer, variable, count);
  const e = viewOf(dtype, buffer, average, count);
  const done = new Set<number>();
  behind.words.forEach((word, i) => {
    const row = rows.length === 0 ? i : rows[i]!;
    const factors = word === 0 ? undefined : factorsOf(behind, i);
    // Slices of one row say the same of it.
    if (factors === undefined || done.has(row)) return;
    if (rows.length > 0) done.add(row);
    const { p, q, isDue } = factors;
    for (let at = row * rowSize; at < (row + 1) * rowSize; at++) {
      const value = round(round(p * e[at]!) + round(q * w[at]!));
      e[at] = value;
      if (isDue) w[at] = value;
    }
  });
}

/** What a lazy block says by which the kernels average the rows of a step and find all of them up to date before. */
export function currentBlock(
  { dtype }: UpdatePlan,
  { momentum, overwrite }: AveragePlan,
  { average, lasts }: { readonly average: number; readonly lasts: number },
): Uint8Array {
  const bytes = new Uint8Array(CURRENT_BLOCK_BYTES);
  const words = new Uint32Array(bytes.buffer);
  // Clock and floor are 0: no row is behind.
  words[lazyWords.kind] = overwrite ? 2 : 1;
  words[lazyWords.average] = average;
  words[lazyWords.last] = lasts;
  const numbers = new Float64Array(bytes.buffer);
  numbers[lazyNumbers.momentum] = roundTo(dtype, momentum);
  numbers[lazyNumbers.complement] = roundTo(dtype, 1 - momentum);
  return bytes;
}
