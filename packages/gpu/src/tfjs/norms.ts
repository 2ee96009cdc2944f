import type { HostMemory, UpdatePlan } from "@shardgrad/workers";
import { TILE } from "../kernels/table.js";

/**
 * Norms are taken of the host's gradients, in float64 and in the order of the CPU's kernels
 * (workers/native/norms.inc), so that steps that clip have their bits: the back ends of tfjs sum float32 numbers, each in
 * an order of its own.
 */
export function normOf(updates: readonly UpdatePlan[], host: HostMemory): number {
  let sum = 0;
  for (const { segments, rowSize } of updates) {
    for (const { memory, start, count, gradient } of segments) {
      if (gradient.kind === "dense") sum = addSquares(host, memory, gradient.offset, count, sum);
      if (gradient.kind !== "slices") continue;
      // Of a table in several memories all slices at once, with its first segment.
      const { all } = gradient;
      if (all === undefined) {
        sum = addSquares(host, memory, gradient.values, gradient.count * rowSize, sum);
      } else if (start === 0) {
        sum = addSquares(host, all.memory, all.values, all.count * rowSize, sum);
      }
    }
  }
  return Math.fround(Math.sqrt(Math.fround(sum)));
}

function addSquares(host: HostMemory, memory: number, offset: number, count: number, before: number): number {
  const { buffer, byteOffset } = host.bytes(memory, offset, count * 4);
  const values = new Float32Array(buffer, byteOffset, count);
  let sum = before;
  for (let at = 0; at < count; at += TILE) sum += blockSum(values, at, Math.min(at + TILE, count));
  return sum;
}

function blockSum(values: Float32Array, start: number, end: number): number {
  let [s0, s1, s2, s3, s4, s5, s6, s7] = [0, 0, 0, 0, 0, 0, 0, 0];
  let at = start;
  for (; at + 8 <= end; at += 8) {
    s0 += values[at]! * values[at]!;
    s1 += values[at + 1]! * values[at + 1]!;
    s2 += values[at + 2]! * values[at + 2]!;
    s3 += values[at + 3]! * values[at + 3]!;
    s4 += values[at + 4]! * values[at + 4]!;
    s5 += values[at + 5]! * values[at + 5]!;
    s6 += values[at + 6]! * values[at + 6]!;
    s7 += values[at + 7]! * values[at + 7]!;
  }
  let sum = s0 + s2 + (s4 + s6) + (s1 + s3 + (s5 + s7));
  for (; at < end; at++) sum += values[at]! * values[at]!;
  return sum;
}
