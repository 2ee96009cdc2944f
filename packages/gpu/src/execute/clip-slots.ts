import { type ClipPlan, type DType, dtypeInfo } from "@shardgrad/workers";
import type { Binding, Command } from "../backend/contract.js";
import { CLIP_SLOT_ELEMENTS, clipKinds, PARTIAL_BYTES } from "../kernels/table.js";
import type { NormLayout } from "./layout.js";
import type { Table } from "./range-table.js";
import type { Scratch } from "./scratch.js";
import type { StepBuffers } from "./step-buffers.js";

/** How the gradients of a step are clipped on the device. */
export interface ClipSlots {
  readonly kind: number;
  readonly slots: Binding;
}

/** What needs no norm: one slot, written by the host. */
export function hostSlots(clip: ClipPlan, dtype: DType, buffers: StepBuffers): ClipSlots {
  const a = clip.kind === "value" ? clip.limit : clip.kind === "scale" ? clip.factor : 0;
  const values = [a, 0, 0, 0];
  const slots = dtype === "float64" ? Float64Array.from(values) : Float32Array.from(values);
  const kind =
    clip.kind === "none" ? clipKinds.none : clip.kind === "value" ? clipKinds.value : clipKinds.scale;
  return { kind, slots: buffers.bind(new Uint8Array(slots.buffer)) };
}

/** Commands that take norms and write a slot for each group of gradients. */
export function normSlots(
  clip: Extract<ClipPlan, { kind: "norm" | "globalNorm" }>,
  dtype: DType,
  { ranges, groups, partials: count }: NormLayout,
  bindingOf: (table: Table) => Binding,
  scratch: Scratch,
  commands: Command[],
): ClipSlots {
  const partials = scratch.take(`partials/${dtype}`, Math.max(count, 1) * PARTIAL_BYTES);
  const slotBytes = CLIP_SLOT_ELEMENTS * dtypeInfo[dtype].bytes;
  const slots = scratch.take(`clips/${dtype}`, groups.entries * slotBytes);
  for (const table of ranges) {
    commands.push({
      kernel: "sumSquares",
      dtype,
      buffers: [...table.buffers.map(whole), bindingOf(table), partials],
      scalars: [table.entries, 0],
      count: table.units,
    });
  }
  const kind = clip.kind === "globalNorm" ? clipKinds.scale : clipKinds.norm;
  commands.push({
    kernel: "clipScalars",
    dtype,
    buffers: [partials, bindingOf(groups), slots],
    scalars: [clip.limit, kind],
    count: groups.units,
  });
  return { kind, slots };
}

export function whole(buffer: Binding["buffer"]): Binding {
  return { buffer, offset: 0, bytes: buffer.bytes };
}
