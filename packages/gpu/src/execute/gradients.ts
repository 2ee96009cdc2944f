import {
  dtypeInfo,
  type HostMemory,
  type SegmentPlan,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";
import type { GpuBuffer, GpuLimits } from "../backend/contract.js";
import type { GradientCopy } from "./layout.js";
import { cut } from "./pieces.js";
import { SMALL, type StepBuffers } from "./step-buffers.js";

/** Gradient elements that lie in one buffer. */
export interface GradientRange {
  readonly buffer: GpuBuffer;
  /** In bytes. */
  readonly offset: number;
  readonly count: number;
}

/** Where the values of the slices of one segment go. */
export interface SlicesPlace {
  readonly update: number;
  readonly segment: number;
  readonly values: GradientRange;
}

/** One update, and where its gradients go. */
export interface PlacedUpdate {
  readonly update: UpdatePlan;
  /** Position in the plan. */
  readonly number: number;
  /** Segments with dense gradients: a range for each piece of the segment. */
  readonly dense: readonly { readonly segment: SegmentPlan; readonly pieces: readonly GradientRange[] }[];
  readonly slices: readonly SlicesPlace[];
  /** What a norm goes over: all slices of a variable that is split over the host's memories, not the dealt ones. */
  readonly normed: readonly GradientRange[];
}

/** Finds places for the gradients of a step. @param copies - what is to be copied there is added */
export function placeGradients(
  { updates, clip }: StepPlan,
  buffers: StepBuffers,
  limits: GpuLimits,
  copies: GradientCopy[],
): PlacedUpdate[] {
  const byNorm = clip.kind === "norm" || clip.kind === "globalNorm";
  return updates.map((update, number): PlacedUpdate => {
    const { dtype, rowSize, segments } = update;
    const element = dtypeInfo[dtype].bytes;
    const dense: PlacedUpdate["dense"][number][] = [];
    const slices: SlicesPlace[] = [];
    const normed: GradientRange[] = [];
    const put = (
      segment: number,
      what: GradientCopy["what"],
      start: number,
      count: number,
    ): GradientRange => {
      const place = buffers.place(count * element);
      copies.push({ update: number, segment, what, from: start * element, bytes: count * element, place });
      return { buffer: place.buffer, offset: place.offset, count };
    };
    segments.forEach((segment, s) => {
      const { count, gradient } = segment;
      if (gradient.kind === "dense") {
        const pieces = cut(count, rowSize, dtype, limits).map((piece) =>
          put(s, "dense", piece.start, piece.count),
        );
        dense.push({ segment, pieces });
        normed.push(...pieces);
      } else if (gradient.kind === "slices" && gradient.count > 0 && rowSize > 0) {
        const values = put(s, "values", 0, gradient.count * rowSize);
        slices.push({ update: number, segment: s, values });
        normed.push(values);
      }
    });
    const [first] = segments;
    const all = byNorm && first?.gradient.kind === "slices" ? first.gradient.all : undefined;
    if (all === undefined) return { update, number, dense, slices, normed };
    return { update, number, dense, slices, normed: [put(0, "all", 0, all.count * rowSize)] };
  });
}

/** Copies the gradients of a plan to their places. `inPlace`: they stay as they are until the step has ended. */
export function copyGradients(
  { updates }: StepPlan,
  copies: readonly GradientCopy[],
  host: HostMemory,
  buffers: StepBuffers,
  inPlace: boolean,
): void {
  for (const { update, segment, what, from, bytes, place } of copies) {
    const { memory, gradient } = updates[update]!.segments[segment]!;
    if (gradient.kind === "dense") {
      buffers.fill(place, host.bytes(memory, gradient.offset + from, bytes), inPlace);
    } else if (gradient.kind === "slices" && what !== "all") {
      const at = what === "rows" ? gradient.indices : gradient.values;
      buffers.fill(place, host.bytes(memory, at, bytes), inPlace);
    } else if (gradient.kind === "slices") {
      buffers.fill(place, host.bytes(gradient.all!.memory, gradient.all!.values, bytes), inPlace);
    }
  }
}

/** The gradients of a plan that do not go up together with others, where they lie on the host. */
export function* largeGradients({ updates }: StepPlan, host: HostMemory): Generator<Uint8Array> {
  let sliced = 0;
  for (const { segments } of updates) for (const segment of segments) if (isSliced(segment)) sliced++;
  for (const { segments, dtype, rowSize } of updates) {
    const element = dtypeInfo[dtype].bytes;
    for (const { memory, count, gradient } of segments) {
      if (gradient.kind === "none") continue;
      const [offset, elements] =
        gradient.kind === "dense" ? [gradient.offset, count] : [gradient.values, gradient.count * rowSize];
      if (elements * element > SMALL) yield host.bytes(memory, offset, elements * element);
      // Those of several tables go up together.
      if (gradient.kind === "slices" && sliced === 1 && 4 * gradient.count > SMALL)
        yield host.bytes(memory, gradient.indices, 4 * gradient.count);
    }
  }
}

function isSliced({ gradient }: SegmentPlan): boolean {
  return gradient.kind === "slices" && gradient.count > 0;
}
