import type { AveragePlan, DType, StepPlan } from "@shardgrad/workers";
import { ALIGNMENT, type Binding, type Command } from "../backend/contract.js";
import { emaKinds } from "../kernels/table.js";
import { type ClipSlots, hostSlots, normSlots, whole } from "./clip-slots.js";
import type { DeviceArrays } from "./device-arrays.js";
import { isRowwise, type LayoutPart } from "./layout.js";
import type { FoundLayout } from "./layouts.js";
import { type Grouped, lowerGroups } from "./lower-groups.js";
import { catchUpCommands, lazyFactors } from "./lower-lazy.js";
import type { Table } from "./range-table.js";
import type { Scratch } from "./scratch.js";
import type { RowsLaunch } from "./slice-groups.js";
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
  readonly buffers: StepBuffers;
  readonly scratch: Scratch;
  readonly commands: Command[];
  readonly bindingOf: (table: Table) => Binding;
}

/** Turns a step with its layout into commands: groups of slices, norms, updates, averages of tables. */
export function lower(
  plan: StepPlan,
  { layout, kept }: FoundLayout,
  arrays: DeviceArrays,
  buffers: StepBuffers,
  scratch: Scratch,
): Lowered {
  const commands: Command[] = [];
  for (const update of plan.updates) commands.push(...catchUpCommands(update, arrays, buffers));
  const bindingOf = (table: Table) => kept.get(table) ?? buffers.bind(bytesOf(table.words));
  const groups = lowerGroups(plan, layout.groups, bindingOf, buffers, scratch, commands);
  let norm: Lowered["norm"];
  for (const part of layout.parts) {
    const { dtype } = part;
    const clip =
      plan.clip.kind === "norm" || plan.clip.kind === "globalNorm"
        ? normSlots(plan.clip, dtype, part.norm!, bindingOf, scratch, commands)
        : hostSlots(plan.clip, dtype, buffers);
    if (plan.clip.kind === "globalNorm") norm = { slots: clip.slots, dtype };
    const context = { plan, dtype, clip, buffers, scratch, commands, bindingOf };
    lowerDense(context, part);
    for (const launch of part.rows) lowerRows(context, launch, groups[launch.group]!);
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
  { plan, dtype, clip, buffers, scratch, commands }: Context,
  { update: number, segment, firstPart, partCount, rows, buffers: arrayBuffers }: RowsLaunch,
  { order, rowGroups }: Grouped,
): void {
  const update = plan.updates[number]!;
  const { learningRate, epsilon, perRow, rowSize } = update;
  const [variable, accumulator, values, average] = arrayBuffers;
  const factors = lazyFactors(update, update.segments[segment]!, buffers);
  commands.push({
    kernel: isRowwise(update) ? "rowwiseRows" : "adagradRows",
    dtype,
    buffers: [
      whole(variable),
      whole(accumulator),
      whole(values),
      order,
      rowGroups,
      clip.slots,
      ...(average === undefined || factors === undefined
        ? [scratch.take("none", ALIGNMENT), clip.slots]
        : [whole(average), factors]),
    ],
    scalars: [
      learningRate,
      epsilon,
      clip.kind,
      perRow ? 1 : 0,
      rowSize,
      ...emaScalars(factors === undefined ? null : plan.average),
      firstPart,
      partCount,
    ],
    count: rows,
  });
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
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
