import { dtypeInfo } from "../dtype.js";
import type { SegmentGradient, SegmentPlan, UpdatePlan } from "./contract.js";
import { addTile, type Lowering, type Scratch } from "./lowering.js";
import { dealsRows, ownerShift, rowTiles } from "./shards.js";

/**
 * From so many lanes on each deals a share of the slices to their owners first, in a phase of its own: 24 bytes a slice
 * for all lanes together. Below, each lane looks through all slices for its own, which is no slower (measured as processor
 * time: 32 lanes 4 % less, 16 lanes no less), with 16 bytes a slice and lane.
 */
const LEAST_DEALERS = 12;

/** Whether the slices of an update are dealt before they are worked on. */
export function dealsInTurn({ operation, segments, rowSize }: UpdatePlan, lanes: number): boolean {
  if (operation !== "adagrad" || lanes < LEAST_DEALERS) return false;
  return segments.some(
    ({ gradient }) =>
      gradient.kind === "slices" &&
      gradient.all?.indices === undefined &&
      dealsRows(gradient.count, rowSize, lanes),
  );
}

export function lowerRows(lowering: Lowering, segment: SegmentPlan, s: number): void {
  const { writer, update, clip, scratch } = lowering;
  const { gradient } = segment;
  if (gradient.kind !== "slices") return;
  const shared = dealsRows(gradient.count, update.rowSize, writer.lanes);
  const lanes = shared ? writer.lanes : 1;
  const shift = ownerShift(update.rowSize * dtypeInfo[update.dtype].bytes);
  const source = slicesOf(segment, gradient, update.rowSize, scratch);
  const deals = shared && lanes >= LEAST_DEALERS && source.rows === 0;
  const dealt = deals ? lowerDealing(lowering, segment, s, shift) : 0;
  const scratchBytes = scratch.rowsBytes(deals ? 0 : source.count);
  for (let i = 0; i < lanes; i++) {
    const lane = shared ? i : update.pin % writer.lanes;
    const args = [
      segment.variable,
      segment.accumulator,
      update.rowSize,
      source.indices,
      source.values,
      source.count,
      i,
      lanes,
      shift,
      laneScratch(lowering, source.memory, lane, scratchBytes, source.reachesAll) + source.distance,
      update.learningRate,
      update.epsilon,
      clip.kind,
      clip.a,
      0,
      update.perRow ? 1 : 0,
      segment.versions,
      segment.versionMask,
      segment.lazy,
      dealt,
      source.firstRow,
      source.rows,
    ];
    const rows = { lane, start: segment.start, count: -1 };
    const operation = update.rowwise ? "rowwiseRows" : "adagradRows";
    addTile(lowering, lowering.phase, operation, segment, s, rows, args);
  }
}

/** Where a kernel finds a segment's slices: its own, or those among all that name its `rows` rows (0: its own). */
function slicesOf(
  { memory, start, count }: SegmentPlan,
  gradient: Extract<SegmentGradient, { kind: "slices" }>,
  rowSize: number,
  scratch: Scratch,
) {
  const { all } = gradient;
  if (all?.indices === undefined) {
    return { ...gradient, firstRow: 0, rows: 0, memory, distance: 0, reachesAll: false };
  }
  const distance = scratch.distance(memory, all.memory);
  return {
    memory: all.memory,
    distance,
    reachesAll: true,
    indices: all.indices + distance,
    values: all.values + distance,
    count: all.count,
    firstRow: start / rowSize,
    rows: count / rowSize,
  };
}

/** Each lane deals an equal share of the slices; returns where they and the lanes' lists lie (see assembly/deal.ts). */
function lowerDealing(lowering: Lowering, segment: SegmentPlan, s: number, shift: number): number {
  const { writer, update, scratch } = lowering;
  if (segment.gradient.kind !== "slices") return 0;
  const { indices, count } = segment.gradient;
  const { lanes } = writer;
  const dealt = scratch.take(segment.memory, 64 * Math.ceil((4 * lanes * lanes) / 64) + 24 * count + 64);
  const rowBytes = update.rowSize * dtypeInfo[update.dtype].bytes;
  for (let lane = 0; lane < lanes; lane++) {
    const args = [indices, count, rowBytes, lane, lanes, shift, segment.versionMask, dealt];
    const rows = { lane, start: segment.start, count: -1 };
    addTile(lowering, lowering.phase - 1, "dealRows", segment, s, rows, args);
  }
  return dealt;
}

/** A lane runs its calls one after another, so calls of the same size can share the lane's scratch. */
function laneScratch(
  { rowScratch, scratch }: Lowering,
  memory: number,
  lane: number,
  bytes: number,
  reachesAll: boolean,
): number {
  // Room of the ones may lie in another memory, which kernels of the others do not reach.
  const key = `${memory}/${lane}/${bytes}/${reachesAll}`;
  const found = rowScratch.get(key);
  if (found !== undefined) return found;
  const offset = reachesAll ? scratch.takeNear(memory, bytes) : scratch.take(memory, bytes);
  rowScratch.set(key, offset);
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
