import { dtypeInfo } from "../dtype.js";
import type { SegmentPlan } from "./contract.js";
import { addTile, type Lowering, type Scratch } from "./lowering.js";
import { dealsRows, ownerShift, rowTiles } from "./shards.js";

export function lowerRows(lowering: Lowering, segment: SegmentPlan, s: number): void {
  const { writer, update, clip, scratch, rowScratch } = lowering;
  const { gradient } = segment;
  if (gradient.kind !== "slices") return;
  const dealt = dealsRows(gradient.count, update.rowSize, writer.lanes);
  const lanes = dealt ? writer.lanes : 1;
  const shift = ownerShift(update.rowSize * dtypeInfo[update.dtype].bytes);
  for (let i = 0; i < lanes; i++) {
    const lane = dealt ? i : update.pin % writer.lanes;
    const args = [
      segment.variable,
      segment.accumulator,
      update.rowSize,
      gradient.indices,
      gradient.values,
      gradient.count,
      i,
      lanes,
      shift,
      laneScratch(rowScratch, scratch, segment.memory, lane, scratch.rowsBytes(gradient.count)),
      update.learningRate,
      update.epsilon,
      clip.kind,
      clip.a,
      0,
      update.perRow ? 1 : 0,
      segment.versions,
      segment.versionMask,
      segment.lazy,
    ];
    const rows = { lane, start: segment.start, count: -1 };
    const operation = update.rowwise ? "rowwiseRows" : "adagradRows";
    addTile(lowering, lowering.phase, operation, segment, s, rows, args);
  }
}

/** A lane runs its calls one after another, so calls of the same size can share the lane's scratch. */
function laneScratch(
  known: Map<string, number>,
  scratch: Scratch,
  memory: number,
  lane: number,
  bytes: number,
): number {
  const key = `${memory}/${lane}/${bytes}`;
  const found = known.get(key);
  if (found !== undefined) return found;
  const offset = scratch.take(memory, bytes);
  known.set(key, offset);
  return offset;
}

export function lowerCatchUp(lowering: Lowering, segment: SegmentPlan, s: number): void {
  const { writer, update } = lowering;
  const { rowSize } = update;
  if (rowSize === 0) return;
  for (const { lane, start, count } of rowTiles(segment.count / rowSize, rowSize, writer.lanes, update.pin)) {
    const tile = { lane, start: start * rowSize, count: count * rowSize };
    const args = [segment.variable, rowSize, start, count, segment.lazy];
    addTile(lowering, lowering.phase, "catchUp", segment, s, tile, args);
  }
}
