import { type DType, dtypeInfo } from "@shardgrad/workers";
import type { GpuLimits } from "../backend/contract.js";
import { TILE } from "../kernels/table.js";

/** A contiguous part of a segment that one launch reaches. */
export interface Piece {
  /** In elements of the segment. */
  readonly start: number;
  readonly count: number;
}

/** Elements are counted in 32 bits, and a little is left for offsets. */
const MOST_BYTES = 2 ** 32 - 2 ** 24;

/** Bytes that one piece can have. */
export function pieceBytes({ bufferBytes, bindingBytes }: GpuLimits): number {
  return Math.min(bufferBytes, bindingBytes, MOST_BYTES);
}

/**
 * Cuts a segment: between rows where a row fits, and between tiles where both can be had, so that the cut does not show
 * in the bits of a norm.
 */
export function cut(count: number, rowSize: number, dtype: DType, limits: GpuLimits): Piece[] {
  const most = Math.floor(pieceBytes(limits) / dtypeInfo[dtype].bytes);
  if (count <= most) return count === 0 ? [] : [{ start: 0, count }];
  const row = rowSize <= most ? Math.max(rowSize, 1) : 1;
  const both = row * (TILE / greatestCommonDivisor(row, TILE));
  const unit = both <= most ? both : row;
  const step = Math.floor(most / unit) * unit;
  const pieces: Piece[] = [];
  for (let start = 0; start < count; start += step) {
    pieces.push({ start, count: Math.min(step, count - start) });
  }
  return pieces;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
