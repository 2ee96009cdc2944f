import {
  type AveragePlan,
  type ClipPlan,
  type DType,
  dtypeInfo,
  type SegmentPlan,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";
import type { Binding, Command } from "../backend/contract.js";
import { emaKinds, RANGE_WORDS, ROW_GROUP_WORDS, TILE } from "../kernels/table.js";
import { type ClipSlots, hostSlots, normSlots, whole } from "./clip-slots.js";
import type { DeviceArray, DeviceArrays } from "./device-arrays.js";
import { type GradientRange, rangesOf, type StagedGradient } from "./gradients.js";
import { catchUpCommands, lazyRows } from "./lower-lazy.js";
import { RangeTable } from "./range-table.js";
import type { Scratch } from "./scratch.js";
import type { StepBuffers } from "./step-buffers.js";

const SHORT_ROW = 32;

/** One update with its gradient on the device: an entry for each of its segments. */
export interface StagedUpdate {
  readonly update: UpdatePlan;
  readonly gradients: readonly StagedGradient[];
  /** What a norm goes over, where the cut into the host's memories must not show. */
  readonly all: GradientRange | undefined;
}

export interface Lowered {
  readonly commands: readonly Command[];
  /** The clip slot whose third number is the global norm, and its dtype. */
  readonly norm: { readonly slots: Binding; readonly dtype: DType } | undefined;
}

interface Context {
  readonly average: AveragePlan | null;
  readonly dtype: DType;
  readonly clip: ClipSlots;
  readonly arrays: DeviceArrays;
  readonly buffers: StepBuffers;
  readonly scratch: Scratch;
  readonly commands: Command[];
}

/** Turns a step whose gradients are on the device into commands: norms, updates, averages of tables. */
export function lower(
  plan: StepPlan,
  staged: readonly StagedUpdate[],
  arrays: DeviceArrays,
  buffers: StepBuffers,
  scratch: Scratch,
): Lowered {
  const commands: Command[] = [];
  for (const { update } of staged) commands.push(...catchUpCommands(update, arrays, buffers));
  let norm: Lowered["norm"];
  for (const dtype of new Set(staged.map(({ update }) => update.dtype))) {
    const updates = staged.filter(({ update }) => update.dtype === dtype);
    const clip = clipSlots(plan.clip, dtype, updates, buffers, scratch, commands);
    if (plan.clip.kind === "globalNorm") norm = { slots: clip.slots, dtype };
    const context = { average: plan.average, dtype, clip, arrays, buffers, scratch, commands };
    lowerDense(context, updates);
    updates.forEach((update, index) => {
      lowerRows(context, update, index);
    });
    if (plan.average !== null) lowerTableAverages(context, updates);
  }
  return { commands, norm };
}

function clipSlots(
  clip: ClipPlan,
  dtype: DType,
  updates: readonly StagedUpdate[],
  buffers: StepBuffers,
  scratch: Scratch,
  commands: Command[],
): ClipSlots {
  if (clip.kind !== "norm" && clip.kind !== "globalNorm") return hostSlots(clip, dtype, buffers);
  const gradients = updates.map(({ all, gradients: parts }) =>
    all === undefined ? parts.flatMap(rangesOf) : [all],
  );
  return normSlots(clip, dtype, gradients, buffers, scratch, commands);
}

/** The mean over a row of one element is that element's square: the kernels by elements do the same, faster. */
function isRowwise({ rowwise, rowSize }: UpdatePlan): boolean {
  return rowwise && rowSize > 1;
}

/** Dense updates by what must be the same in a launch: buffers, scalars and kind of accumulator. */
function lowerDense(context: Context, updates: readonly StagedUpdate[]): void {
  const tables = new Map<string, { readonly update: UpdatePlan; readonly table: RangeTable }>();
  updates.forEach(({ update, gradients }, index) => {
    // Short rows by themselves: a launch gives them to single lanes.
    const rows = isRowwise(update) ? (update.rowSize <= SHORT_ROW ? "short" : "long") : "";
    const key = `${update.learningRate}/${update.epsilon}/${rows}`;
    const { table } = tables.get(key) ?? { table: new RangeTable() };
    tables.set(key, { update, table });
    update.segments.forEach((segment, s) => {
      const gradient = gradients[s]!;
      if (gradient.kind === "dense") addDense(context, table, update, segment, gradient, index);
    });
  });
  for (const { update, table } of tables.values()) launchDense(context, update, table);
}

function addDense(
  { arrays, dtype, clip, average, scratch }: Context,
  table: RangeTable,
  update: UpdatePlan,
  segment: SegmentPlan,
  gradient: Extract<StagedGradient, { kind: "dense" }>,
  index: number,
): void {
  const { rowSize } = update;
  const rowwise = isRowwise(update);
  const element = dtypeInfo[dtype].bytes;
  const variable = arrays.get(segment.memory, segment.variable)!;
  const accumulator = arrays.get(segment.memory, segment.accumulator)!;
  const mean = average === null ? undefined : arrays.get(segment.memory, segment.average)!;
  gradient.pieces.forEach(({ count, buffer, offset }, p) => {
    const [v, s, e] = [variable.pieces[p]!.place, accumulator.pieces[p]!.place, mean?.pieces[p]?.place];
    table.add([v.buffer, s.buffer, e?.buffer ?? scratch.take("none", 256).buffer, buffer], {
      count,
      units: rowwise ? count / rowSize : Math.ceil(count / TILE),
      variable: v.offset / element,
      accumulator: s.offset / element,
      average: (e?.offset ?? 0) / element,
      gradient: offset / element,
      clip: clip.slotOf(index),
      rowSize,
    });
  });
}

function launchDense(
  { average, dtype, clip, buffers, commands }: Context,
  update: UpdatePlan,
  table: RangeTable,
): void {
  const { learningRate, epsilon } = update;
  for (const { buffers: bound, words, units } of table.launches()) {
    const ranges = buffers.bind(new Uint8Array(words.buffer));
    commands.push({
      kernel: isRowwise(update) ? "rowwiseDense" : "adagradDense",
      dtype,
      buffers: [...bound.map(whole), ranges, clip.slots],
      scalars: [learningRate, epsilon, clip.kind, ...emaScalars(average), words.length / RANGE_WORDS],
      count: units,
    });
  }
}

function emaScalars(average: AveragePlan | null): [momentum: number, complement: number, kind: number] {
  if (average === null) return [0, 0, emaKinds.none];
  const { momentum, overwrite } = average;
  return [momentum, 1 - momentum, overwrite ? emaKinds.overwrite : emaKinds.update];
}

function lowerRows(context: Context, { update, gradients }: StagedUpdate, index: number): void {
  const { arrays, average, dtype, clip, buffers, scratch, commands } = context;
  const { learningRate, epsilon, perRow, rowSize } = update;
  const element = dtypeInfo[dtype].bytes;
  update.segments.forEach((segment, s) => {
    const gradient = gradients[s]!;
    if (gradient.kind !== "slices") return;
    const variable = arrays.get(segment.memory, segment.variable)!;
    const accumulator = arrays.get(segment.memory, segment.accumulator)!;
    const order = buffers.bind(bytesOf(gradient.rows.order));
    const lazy = lazyRows(update, segment, arrays, buffers);
    variable.pieces.forEach(({ place, start, count }, p) => {
      const rows = rowsWithin(gradient.rows.groups, start / rowSize, (start + count) / rowSize);
      if (rows.length === 0) return;
      const { place: accumulatorPlace } = accumulator.pieces[p]!;
      const averagePlace = lazy?.average.pieces[p]?.place;
      commands.push({
        kernel: isRowwise(update) ? "rowwiseRows" : "adagradRows",
        dtype,
        buffers: [
          whole(place.buffer),
          whole(accumulatorPlace.buffer),
          whole(gradient.values.buffer),
          order,
          buffers.bind(bytesOf(rows)),
          clip.slots,
          ...(lazy === undefined
            ? [scratch.take("none", 256), clip.slots]
            : [whole(averagePlace!.buffer), lazy.factors]),
        ],
        scalars: [
          learningRate,
          epsilon,
          clip.kind,
          perRow ? 1 : 0,
          rowSize,
          clip.slotOf(index),
          place.offset / element,
          accumulatorPlace.offset / element,
          gradient.values.offset / element,
          (averagePlace?.offset ?? 0) / element,
          ...emaScalars(lazy === undefined ? null : average),
        ],
        count: rows.length / ROW_GROUP_WORDS,
      });
    });
  });
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The groups of the rows [first, end), counted from `first`. */
function rowsWithin(groups: Uint32Array, first: number, end: number): Uint32Array {
  const from = firstAtLeast(groups, first);
  const to = firstAtLeast(groups, end);
  if (first === 0 && to === groups.length) return groups;
  const rows = groups.slice(from, to);
  for (let at = 0; at < rows.length; at += ROW_GROUP_WORDS) rows[at]! -= first;
  return rows;
}

/** Where the first group of a row that is not below `row` begins. */
function firstAtLeast(groups: Uint32Array, row: number): number {
  let low = 0;
  let high = groups.length / ROW_GROUP_WORDS;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (groups[middle * ROW_GROUP_WORDS]! < row) low = middle + 1;
    else high = middle;
  }
  return low * ROW_GROUP_WORDS;
}

function lowerTableAverages(
  { average, arrays, dtype, buffers, commands }: Context,
  updates: readonly StagedUpdate[],
) {
  const element = dtypeInfo[dtype].bytes;
  const table = new RangeTable();
  for (const { update } of updates) {
    for (const { memory, gradient, variable, average: mean, lazy } of update.segments) {
      if (gradient.kind !== "slices" || lazy !== 0) continue;
      const means: DeviceArray = arrays.get(memory, mean)!;
      arrays.get(memory, variable)!.pieces.forEach(({ place, count }, p) => {
        const meanPlace = means.pieces[p]!.place;
        table.add([place.buffer, meanPlace.buffer], {
          count,
          units: Math.ceil(count / TILE),
          variable: place.offset / element,
          average: meanPlace.offset / element,
        });
      });
    }
  }
  for (const { buffers: bound, words, units } of table.launches()) {
    commands.push({
      kernel: "ema",
      dtype,
      buffers: [...bound.map(whole), buffers.bind(new Uint8Array(words.buffer))],
      scalars: [...emaScalars(average), words.length / RANGE_WORDS],
      count: units,
    });
  }
}
