import { type AveragePlan, type DType, dtypeInfo, type StepPlan } from "@shardgrad/workers";
import { ALIGNMENT, type Binding, type Command } from "../backend/contract.js";
import { emaKinds, ROW_GROUP_WORDS } from "../kernels/table.js";
import { type ClipSlots, hostSlots, normSlots, whole } from "./clip-slots.js";
import type { DeviceArrays } from "./device-arrays.js";
import { isRowwise, type LayoutPart } from "./layout.js";
import type { FoundLayout } from "./layouts.js";
import { catchUpCommands, lazyRows } from "./lower-lazy.js";
import type { Table } from "./range-table.js";
import { noteBehind } from "./row-groups.js";
import type { Scratch } from "./scratch.js";
import type { SliceRows } from "./slice-rows.js";
import type { StepBuffers } from "./step-buffers.js";

export interface Lowered {
  readonly commands: readonly Command[];
  /** The clip slot whose third number is the global norm, and its dtype. */
  readonly norm: { readonly slots: Binding; readonly dtype: DType } | undefined;
}

interface Context {
  readonly plan: StepPlan;
  readonly dtype: DType;
  readonly clip: ClipSlots;
  readonly arrays: DeviceArrays;
  readonly buffers: StepBuffers;
  readonly scratch: Scratch;
  readonly commands: Command[];
  readonly bindingOf: (table: Table) => Binding;
}

/** Turns a step with its layout into commands: norms, updates, averages of tables. */
export function lower(
  plan: StepPlan,
  { layout, kept }: FoundLayout,
  rows: SliceRows,
  arrays: DeviceArrays,
  buffers: StepBuffers,
  scratch: Scratch,
): Lowered {
  const commands: Command[] = [];
  for (const update of plan.updates) commands.push(...catchUpCommands(update, arrays, buffers));
  const bindingOf = (table: Table) => kept.get(table) ?? buffers.bind(bytesOf(table.words));
  let norm: Lowered["norm"];
  for (const part of layout.parts) {
    const { dtype } = part;
    const clip =
      plan.clip.kind === "norm" || plan.clip.kind === "globalNorm"
        ? normSlots(plan.clip, dtype, part.norm!, bindingOf, scratch, commands)
        : hostSlots(plan.clip, dtype, buffers);
    if (plan.clip.kind === "globalNorm") norm = { slots: clip.slots, dtype };
    const context = { plan, dtype, clip, arrays, buffers, scratch, commands, bindingOf };
    lowerDense(context, part);
    for (const slices of part.slices) lowerRows(context, slices, rows);
    lowerTableAverages(context, part);
  }
  return { commands, norm };
}

function lowerDense({ plan, dtype, clip, commands, bindingOf }: Context, { dense }: LayoutPart): void {
  for (const { update, rowwise, tables } of dense) {
    const { learningRate, epsilon } = plan.updates[update]!;
    for (const table of tables) {
      commands.push({
        kernel: rowwise ? "rowwiseDense" : "adagradDense",
        dtype,
        buffers: [...table.buffers.map(whole), bindingOf(table), clip.slots],
        scalars: [learningRate, epsilon, clip.kind, ...emaScalars(plan.average), table.entries],
        count: table.units,
      });
    }
  }
}

function emaScalars(average: AveragePlan | null): [momentum: number, complement: number, kind: number] {
  if (average === null) return [0, 0, emaKinds.none];
  const { momentum, overwrite } = average;
  return [momentum, 1 - momentum, overwrite ? emaKinds.overwrite : emaKinds.update];
}

function lowerRows(
  { plan, arrays, dtype, clip, buffers, scratch, commands }: Context,
  { update: number, segment: s, values, clipSlot }: LayoutPart["slices"][number],
  slicesByRow: SliceRows,
): void {
  const update = plan.updates[number]!;
  const segment = update.segments[s]!;
  const { learningRate, epsilon, perRow, rowSize } = update;
  const element = dtypeInfo[dtype].bytes;
  const variable = arrays.get(segment.memory, segment.variable)!;
  const accumulator = arrays.get(segment.memory, segment.accumulator)!;
  const byRow = slicesByRow.of(segment);
  if (segment.behind !== undefined) noteBehind(byRow, segment.behind.words);
  const order = buffers.bind(bytesOf(byRow.order));
  const lazy = lazyRows(update, segment, arrays, buffers);
  variable.pieces.forEach(({ place, start, count }, p) => {
    const rows = rowsWithin(byRow.groups, start / rowSize, (start + count) / rowSize);
    if (rows.length === 0) return;
    const { place: accumulatorPlace } = accumulator.pieces[p]!;
    const averagePlace = lazy?.average.pieces[p]?.place;
    commands.push({
      kernel: isRowwise(update) ? "rowwiseRows" : "adagradRows",
      dtype,
      buffers: [
        whole(place.buffer),
        whole(accumulatorPlace.buffer),
        whole(values.buffer),
        order,
        buffers.bind(bytesOf(rows)),
        clip.slots,
        ...(lazy === undefined
          ? [scratch.take("none", ALIGNMENT), clip.slots]
          : [whole(averagePlace!.buffer), lazy.factors]),
      ],
      scalars: [
        learningRate,
        epsilon,
        clip.kind,
        perRow ? 1 : 0,
        rowSize,
        clipSlot,
        place.offset / element,
        accumulatorPlace.offset / element,
        values.offset / element,
        (averagePlace?.offset ?? 0) / element,
        ...emaScalars(lazy === undefined ? null : plan.average),
      ],
      count: rows.length / ROW_GROUP_WORDS,
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

function lowerTableAverages({ plan, dtype, commands, bindingOf }: Context, { averages }: LayoutPart): void {
  for (const table of averages) {
    commands.push({
      kernel: "ema",
      dtype,
      buffers: [...table.buffers.map(whole), bindingOf(table)],
      scalars: [...emaScalars(plan.average), table.entries],
      count: table.units,
    });
  }
}
