import { dtypeInfo, type HostMemory, type SegmentPlan, type UpdatePlan } from "@shardgrad/workers";
import type { GpuBuffer, GpuLimits } from "../backend/contract.js";
import { cut, type Piece } from "./pieces.js";
import { groupRows, noteBehind, type RowGroups } from "./row-groups.js";
import type { StepBuffers } from "./step-buffers.js";

/** Gradient elements that lie in one buffer. */
export interface GradientRange {
  readonly buffer: GpuBuffer;
  /** In bytes. */
  readonly offset: number;
  readonly count: number;
}

/** The gradient of one segment on the device. */
export type StagedGradient =
  | { readonly kind: "none" }
  /** One range for each piece of the segment. */
  | { readonly kind: "dense"; readonly pieces: readonly (Piece & GradientRange)[] }
  | { readonly kind: "slices"; readonly values: GradientRange; readonly rows: RowGroups };

/** Copies the gradient of a segment up. */
export function stageGradient(
  { dtype, rowSize }: UpdatePlan,
  { memory, count, gradient, behind }: SegmentPlan,
  host: HostMemory,
  buffers: StepBuffers,
  limits: GpuLimits,
): StagedGradient {
  const { bytes } = dtypeInfo[dtype];
  if (gradient.kind === "dense") {
    const pieces = cut(count, rowSize, dtype, limits).map((piece) => {
      const source = host.bytes(memory, gradient.offset + piece.start * bytes, piece.count * bytes);
      return { ...piece, ...buffers.put(source) };
    });
    return { kind: "dense", pieces };
  }
  if (gradient.kind === "none" || gradient.count === 0 || rowSize === 0) return { kind: "none" };
  const elements = gradient.count * rowSize;
  const values = buffers.put(host.bytes(memory, gradient.values, elements * bytes));
  const indices = host.bytes(memory, gradient.indices, gradient.count * 4);
  const rows = groupRows(new Uint32Array(indices.buffer, indices.byteOffset, gradient.count));
  if (behind !== undefined) noteBehind(rows, behind.words);
  return { kind: "slices", values: { ...values, count: elements }, rows };
}

/** All slices of a variable that is split over the host's memories, for its norm. */
export function stageAll(
  { dtype, rowSize, segments }: UpdatePlan,
  host: HostMemory,
  buffers: StepBuffers,
): GradientRange | undefined {
  const gradient = segments[0]?.gradient;
  if (gradient?.kind !== "slices" || gradient.all === undefined) return undefined;
  const { memory, values, count } = gradient.all;
  const bytes = host.bytes(memory, values, count * rowSize * dtypeInfo[dtype].bytes);
  return { ...buffers.put(bytes), count: count * rowSize };
}

/** What a norm goes over. */
export function rangesOf(staged: StagedGradient): readonly GradientRange[] {
  if (staged.kind === "dense") return staged.pieces;
  return staged.kind === "slices" ? [staged.values] : [];
}
