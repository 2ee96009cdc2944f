import { dtypeInfo } from "../dtype.js";
import { averageKinds, clipKinds, kernelFor, NORM_BLOCK } from "../kernels/table.js";
import type { SegmentPlan, StepPlan, UpdatePlan } from "./contract.js";
import { dealsInTurn, lowerCatchUp, lowerRows } from "./lower-rows.js";
import { addTile, type ClipArguments, type Lowering, type Scratch } from "./lowering.js";
import { ProgramWriter } from "./program.js";
import { rowTiles, tiles } from "./shards.js";

/** Norms, and the dealing of slices to lanes. */
const PREPARE = 0;

/**
 * Turns a step plan into kernel calls for `lanes` lanes: preparations, then updates, then averages of tables.
 * @param writer - used again from the beginning
 */
export function lower(
  plan: StepPlan,
  lanes: number,
  scratch: Scratch,
  writer = new ProgramWriter(),
): ProgramWriter {
  const byNorm = plan.clip.kind === "norm" || plan.clip.kind === "globalNorm";
  const tableAverages = plan.average !== null && plan.updates.some(hasTableAverage);
  const updates = byNorm || plan.updates.some((update) => dealsInTurn(update, lanes)) ? 1 : 0;
  writer.begin(1 + updates + (tableAverages ? 1 : 0), lanes);
  if (byNorm) lowerNorms(plan, writer, scratch);
  const rowScratch = new Map<string, number>();
  const same = clipArguments(plan, byNorm ? 0 : -1);
  for (let index = 0; index < plan.updates.length; index++) {
    const update = plan.updates[index]!;
    // Each gradient by itself has a group of its own.
    const clip = plan.clip.kind === "norm" ? clipArguments(plan, index) : same;
    const lowering: Lowering = { plan, writer, update, index, clip, phase: updates, scratch, rowScratch };
    const { segments } = update;
    for (let s = 0; s < segments.length; s++) lowerSegment(lowering, segments[s]!, s);
  }
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

/** Plans the partial sums of squares: one group for all, or one for each update. */
function lowerNorms(plan: StepPlan, writer: ProgramWriter, scratch: Scratch): void {
  const limit = "limit" in plan.clip ? plan.clip.limit : 0;
  const global = plan.clip.kind === "globalNorm";
  for (let index = 0; index < plan.updates.length; index++) {
    const update = plan.updates[index]!;
    const { segments, dtype, rowSize, pin } = update;
    const { bytes, code } = dtypeInfo[dtype];
    if (!global || writer.groupCount === 0) writer.addGroup(global ? 2 : 1, limit, code);
    const kernel = kernelFor("sumSquares", dtype).id;
    for (let s = 0; s < segments.length; s++) {
      const segment = segments[s]!;
      const values = normValues(segment, rowSize, s);
      const blocks = Math.ceil(values.count / NORM_BLOCK);
      if (blocks === 0) continue;
      const { memory, offset } = values;
      const partials = scratch.take(memory, blocks * 8);
      writer.addPart(memory, partials, blocks);
      for (const { lane, start, count } of tiles(values.count, writer.lanes, pin)) {
        const at = writer.add(PREPARE, lane, kernel, memory, -1, index, segment.start + start, count, s);
        const numbers = writer.numbersOf(PREPARE, lane);
        numbers[at] = offset + start * bytes;
        numbers[at + 1] = count;
        numbers[at + 2] = partials + (start / NORM_BLOCK) * 8;
      }
    }
  }
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

interface AverageArguments {
  readonly momentum: number;
  readonly complement: number;
  readonly kind: number;
}

const noAverage: AverageArguments = { momentum: 0, complement: 0, kind: averageKinds.none };

function averageArguments({ average }: StepPlan): AverageArguments {
  if (average === null) return noAverage;
  const { momentum, overwrite } = average;
  return {
    momentum,
    complement: 1 - momentum,
    kind: overwrite ? averageKinds.overwrite : averageKinds.update,
  };
}

/** Dense rows whose accumulator has one element each; tiles are whole rows. */
function lowerRowwise(lowering: Lowering, segment: SegmentPlan, s: number): void {
  const { plan, writer, update, clip } = lowering;
  const { rowSize, learningRate, epsilon } = update;
  if (segment.gradient.kind !== "dense" || rowSize === 0) return;
  const { bytes } = dtypeInfo[update.dtype];
  const { momentum, complement, kind } = averageArguments(plan);
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
      momentum,
      complement,
      kind,
    ];
    const tile = { lane, start: start * rowSize, count: count * rowSize };
    addTile(lowering, lowering.phase, "rowwiseDense", segment, s, tile, args);
  }
}

function lowerDense(
  { plan, writer, update, index, clip, phase }: Lowering,
  segment: SegmentPlan,
  s: number,
): void {
  if (segment.gradient.kind !== "dense") return;
  const { bytes } = dtypeInfo[update.dtype];
  const { memory, variable, accumulator, average } = segment;
  const gradient = segment.gradient.offset;
  const kernel = kernelFor("adagradDense", update.dtype).id;
  const { momentum, complement, kind } = averageArguments(plan);
  for (const { lane, start, count } of tiles(segment.count, writer.lanes, update.pin)) {
    const shift = start * bytes;
    const at = writer.add(phase, lane, kernel, memory, clip.group, index, segment.start + start, count, s);
    const numbers = writer.numbersOf(phase, lane);
    numbers[at] = variable + shift;
    numbers[at + 1] = accumulator + shift;
    numbers[at + 2] = average + shift;
    numbers[at + 3] = gradient + shift;
    numbers[at + 4] = count;
    numbers[at + 5] = update.learningRate;
    numbers[at + 6] = update.epsilon;
    numbers[at + 7] = clip.kind;
    numbers[at + 8] = clip.a;
    numbers[at + 9] = 0;
    numbers[at + 10] = momentum;
    numbers[at + 11] = complement;
    numbers[at + 12] = kind;
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
  const { momentum, complement, kind } = averageArguments(plan);
  for (const tile of tiles(segment.count, writer.lanes, update.pin)) {
    const shift = tile.start * dtypeInfo[update.dtype].bytes;
    const args = [segment.variable + shift, segment.average + shift, tile.count, momentum, complement, kind];
    addTile(lowering, phase, "ema", segment, s, tile, args);
  }
}
