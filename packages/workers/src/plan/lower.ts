import { dtypeInfo } from "../dtype.js";
import { averageKinds, clipKinds, kernelFor, NORM_BLOCK } from "../kernels/table.js";
import type { SegmentPlan, StepPlan, UpdatePlan } from "./contract.js";
import { dealsInTurn, lowerCatchUp, lowerRows } from "./lower-rows.js";
import { add, addTile, type ClipArguments, type Lowering, type Scratch } from "./lowering.js";
import { ProgramWriter } from "./program.js";
import { rowTiles, tiles } from "./shards.js";

/** Norms, and the dealing of slices to lanes. */
const PREPARE = 0;

/** Turns a step plan into kernel calls for `lanes` lanes: preparations, then updates, then averages of tables. */
export function lower(plan: StepPlan, lanes: number, scratch: Scratch): ProgramWriter {
  const byNorm = plan.clip.kind === "norm" || plan.clip.kind === "globalNorm";
  const tableAverages = plan.average !== null && plan.updates.some(hasTableAverage);
  const updates = byNorm || plan.updates.some((update) => dealsInTurn(update, lanes)) ? 1 : 0;
  const writer = new ProgramWriter(1 + updates + (tableAverages ? 1 : 0), lanes);
  const groups = byNorm ? lowerNorms(plan, writer, scratch) : null;
  const rowScratch = new Map<string, number>();
  plan.updates.forEach((update, index) => {
    const clip = clipArguments(plan, groups === null ? -1 : groups[index]!);
    const lowering: Lowering = { plan, writer, update, index, clip, phase: updates, scratch, rowScratch };
    update.segments.forEach((segment, s) => {
      lowerSegment(lowering, segment, s);
    });
  });
  return writer;
}

/** Whether averages of all rows follow the update of some. */
function hasTableAverage(update: UpdatePlan): boolean {
  return update.segments.some(({ gradient, lazy }) => gradient.kind === "slices" && lazy === 0);
}

function clipArguments(plan: StepPlan, group: number): ClipArguments {
  switch (plan.clip.kind) {
    case "none":
      return { group: -1, kind: clipKinds.none, a: 0 };
    case "scale":
      return { group: -1, kind: clipKinds.scale, a: plan.clip.factor };
    case "value":
      return { group: -1, kind: clipKinds.value, a: plan.clip.limit };
    // The scalars of the norm kinds are known only after the first phase: each lane computes them.
    case "norm":
      return { group, kind: clipKinds.norm, a: 0 };
    case "globalNorm":
      return { group, kind: clipKinds.scale, a: 0 };
  }
}

/** Plans the partial sums of squares; returns the norm group of each update. */
function lowerNorms(plan: StepPlan, writer: ProgramWriter, scratch: Scratch): number[] {
  const limit = "limit" in plan.clip ? plan.clip.limit : 0;
  const global = plan.clip.kind === "globalNorm";
  return plan.updates.map((update, index) => {
    if (!global || writer.groups.length === 0) {
      const dtype = dtypeInfo[update.dtype].code;
      writer.groups.push({ kind: global ? 2 : 1, limit, dtype, parts: [] });
    }
    const group = writer.groups[writer.groups.length - 1]!;
    const { bytes } = dtypeInfo[update.dtype];
    update.segments.forEach((segment, s) => {
      const values = normValues(segment, update.rowSize, s);
      const blocks = Math.ceil(values.count / NORM_BLOCK);
      if (blocks === 0) return;
      const { memory } = values;
      const partials = scratch.take(memory, blocks * 8);
      group.parts.push({ memory, partials, blocks });
      const place = { ...segment, memory };
      for (const tile of tiles(values.count, writer.lanes, update.pin)) {
        const args = [
          values.offset + tile.start * bytes,
          tile.count,
          partials + (tile.start / NORM_BLOCK) * 8,
        ];
        add(writer, PREPARE, tile.lane, kernelFor("sumSquares", update.dtype), place, index, s, tile, args);
      }
    });
    return writer.groups.length - 1;
  });
}

/** What a segment brings to a norm: all slices of a split variable are taken at once, so that the cut does not show. */
function normValues(
  segment: SegmentPlan,
  rowSize: number,
  s: number,
): { memory: number; offset: number; count: number } {
  const all = segment.gradient.kind === "slices" ? segment.gradient.all : undefined;
  if (all === undefined) return { memory: segment.memory, ...gradientValues(segment, rowSize) };
  return { memory: all.memory, offset: all.values, count: s === 0 ? all.count * rowSize : 0 };
}

function gradientValues(segment: SegmentPlan, rowSize: number): { offset: number; count: number } {
  const { gradient } = segment;
  if (gradient.kind === "dense") return { offset: gradient.offset, count: segment.count };
  if (gradient.kind === "slices") return { offset: gradient.values, count: gradient.count * rowSize };
  return { offset: 0, count: 0 };
}

function lowerSegment(lowering: Lowering, segment: SegmentPlan, s: number): void {
  const { update, plan } = lowering;
  if (update.operation === "norm") return;
  if (update.operation === "clip") lowerClip(lowering, segment, s);
  else if (update.operation === "catchUp") lowerCatchUp(lowering, segment, s);
  else if (update.operation === "average") lowerAverage(lowering, segment, s, lowering.phase);
  else if (segment.gradient.kind === "dense" && update.rowwise) lowerRowwise(lowering, segment, s);
  else if (segment.gradient.kind === "dense") lowerDense(lowering, segment, s);
  else if (segment.gradient.kind === "slices") {
    if (segment.gradient.count > 0 && update.rowSize > 0) lowerRows(lowering, segment, s);
    if (plan.average !== null && segment.lazy === 0) lowerAverage(lowering, segment, s, lowering.phase + 1);
  }
}

function averageArguments(plan: StepPlan): [momentum: number, complement: number, kind: number] {
  if (plan.average === null) return [0, 0, averageKinds.none];
  const { momentum, overwrite } = plan.average;
  return [momentum, 1 - momentum, overwrite ? averageKinds.overwrite : averageKinds.update];
}

/** Dense rows whose accumulator has one element each; tiles are whole rows. */
function lowerRowwise(lowering: Lowering, segment: SegmentPlan, s: number): void {
  const { plan, writer, update, clip } = lowering;
  const { rowSize, learningRate, epsilon } = update;
  if (segment.gradient.kind !== "dense" || rowSize === 0) return;
  const { bytes } = dtypeInfo[update.dtype];
  const average = averageArguments(plan);
  for (const { lane, start, count } of rowTiles(segment.count / rowSize, rowSize, writer.lanes, update.pin)) {
    const shift = start * rowSize * bytes;
    const args = [
      segment.variable + shift,
      segment.accumulator + start * bytes,
      segment.average + shift,
      segment.gradient.offset + shift,
      count,
      rowSize,
      learningRate,
      epsilon,
      clip.kind,
      clip.a,
      0,
      ...average,
    ];
    const tile = { lane, start: start * rowSize, count: count * rowSize };
    addTile(lowering, lowering.phase, "rowwiseDense", segment, s, tile, args);
  }
}

function lowerDense(lowering: Lowering, segment: SegmentPlan, s: number): void {
  const { plan, writer, update, clip } = lowering;
  if (segment.gradient.kind !== "dense") return;
  const { bytes } = dtypeInfo[update.dtype];
  const average = averageArguments(plan);
  for (const tile of tiles(segment.count, writer.lanes, update.pin)) {
    const shift = tile.start * bytes;
    const args = [
      segment.variable + shift,
      segment.accumulator + shift,
      segment.average + shift,
      segment.gradient.offset + shift,
      tile.count,
      update.learningRate,
      update.epsilon,
      clip.kind,
      clip.a,
      0,
      ...average,
    ];
    addTile(lowering, lowering.phase, "adagradDense", segment, s, tile, args);
  }
}

function lowerClip(lowering: Lowering, segment: SegmentPlan, s: number): void {
  const { writer, update, clip } = lowering;
  if (clip.kind === clipKinds.none) return;
  const values = gradientValues(segment, update.rowSize);
  for (const tile of tiles(values.count, writer.lanes, update.pin)) {
    const offset = values.offset + tile.start * dtypeInfo[update.dtype].bytes;
    addTile(lowering, lowering.phase, "clip", segment, s, tile, [offset, tile.count, clip.kind, clip.a, 0]);
  }
}

function lowerAverage(lowering: Lowering, segment: SegmentPlan, s: number, phase: number): void {
  const { plan, writer, update } = lowering;
  const average = averageArguments(plan);
  for (const tile of tiles(segment.count, writer.lanes, update.pin)) {
    const shift = tile.start * dtypeInfo[update.dtype].bytes;
    const args = [segment.variable + shift, segment.average + shift, tile.count, ...average];
    addTile(lowering, phase, "ema", segment, s, tile, args);
  }
}
