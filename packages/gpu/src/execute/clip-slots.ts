import { type ClipPlan, type DType, dtypeInfo } from "@shardgrad/workers";
import type { Binding, Command } from "../backend/contract.js";
import {
  CLIP_SLOT_ELEMENTS,
  clipKinds,
  NORM_GROUP_WORDS,
  PARTIAL_BYTES,
  RANGE_WORDS,
  TILE,
} from "../kernels/table.js";
import type { GradientRange } from "./gradients.js";
import { RangeTable } from "./range-table.js";
import type { Scratch } from "./scratch.js";
import type { StepBuffers } from "./step-buffers.js";

/** How the gradients of a step are clipped on the device. */
export interface ClipSlots {
  readonly kind: number;
  readonly slots: Binding;
  /** The slot of an update. */
  slotOf(update: number): number;
}

/** What needs no norm: one slot, written by the host. */
export function hostSlots(clip: ClipPlan, dtype: DType, buffers: StepBuffers): ClipSlots {
  const a = clip.kind === "value" ? clip.limit : clip.kind === "scale" ? clip.factor : 0;
  const values = [a, 0, 0, 0];
  const slots = dtype === "float64" ? Float64Array.from(values) : Float32Array.from(values);
  const kind =
    clip.kind === "none" ? clipKinds.none : clip.kind === "value" ? clipKinds.value : clipKinds.scale;
  return { kind, slots: buffers.bind(new Uint8Array(slots.buffer)), slotOf: () => 0 };
}

/**
 * Commands that take norms and write a slot for each group: all gradients for a global norm, one update's otherwise.
 * Partial sums lie in the order of the step's gradients, whatever buffers these lie in.
 */
export function normSlots(
  clip: Extract<ClipPlan, { kind: "norm" | "globalNorm" }>,
  dtype: DType,
  gradients: readonly (readonly GradientRange[])[],
  buffers: StepBuffers,
  scratch: Scratch,
  commands: Command[],
): ClipSlots {
  const isGlobal = clip.kind === "globalNorm";
  const groups: number[] = [];
  const table = new RangeTable();
  let partial = 0;
  gradients.forEach((ranges, update) => {
    const first = partial;
    for (const { buffer, offset, count } of ranges) {
      const at = offset / dtypeInfo[dtype].bytes;
      table.add([buffer], { count, units: Math.ceil(count / TILE), variable: partial, gradient: at });
      partial += Math.ceil(count / TILE);
    }
    if (!isGlobal) groups.push(first, partial - first, update, 0);
  });
  if (isGlobal) groups.push(0, partial, 0, 0);
  const count = groups.length / NORM_GROUP_WORDS;
  const partials = scratch.take(`partials/${dtype}`, Math.max(partial, 1) * PARTIAL_BYTES);
  const slots = scratch.take(`clips/${dtype}`, count * CLIP_SLOT_ELEMENTS * dtypeInfo[dtype].bytes);
  for (const { buffers: bound, words, units } of table.launches()) {
    const ranges = buffers.bind(new Uint8Array(words.buffer));
    const scalars = [words.length / RANGE_WORDS, 0];
    commands.push({
      kernel: "sumSquares",
      dtype,
      buffers: [whole(bound[0]!), ranges, partials],
      scalars,
      count: units,
    });
  }
  const kind = isGlobal ? clipKinds.scale : clipKinds.norm;
  const groupWords = buffers.bind(new Uint8Array(Uint32Array.from(groups).buffer));
  commands.push({
    kernel: "clipScalars",
    dtype,
    buffers: [partials, groupWords, slots],
    scalars: [clip.limit, kind],
    count,
  });
  return { kind, slots, slotOf: (update) => (isGlobal ? 0 : update) };
}

export function whole(buffer: Binding["buffer"]): Binding {
  return { buffer, offset: 0, bytes: buffer.bytes };
}
