import type { HostMemory, SegmentGradient, StepPlan } from "@shardgrad/workers";
import type { GpuBackend, GpuBuffer, TensorCopy } from "../backend/contract.js";
import { copyGradients } from "./gradients.js";
import type { GradientCopy } from "./layout.js";
import type { StepBuffers } from "./step-buffers.js";

/** Where on the host the values of a gradient lie, or are to come to. */
function valuesAt(gradient: SegmentGradient): number | undefined {
  if (gradient.kind === "none") return undefined;
  return gradient.kind === "dense" ? gradient.offset : gradient.values;
}

/** The tensors of the application's tfjs that gradients of a plan come from. */
export function* tensorsOf({ updates, arriving }: StepPlan): Generator<object> {
  if (arriving === undefined) return;
  for (const { segments } of updates) {
    for (const { memory, gradient } of segments) {
      const offset = valuesAt(gradient);
      const tensor = offset === undefined ? undefined : arriving.tensorAt(memory, offset);
      if (tensor !== undefined) yield tensor;
    }
  }
}

/** Whether a back end has the tensors of all gradients that are on their way to the host. */
export function hasTensors(plan: StepPlan, backend: GpuBackend): boolean {
  if (backend.hasTensor === undefined || backend.copyTensors === undefined) return false;
  for (const tensor of tensorsOf(plan)) if (!backend.hasTensor(tensor)) return false;
  return true;
}

/**
 * The same as `copyGradients`, but those that a tensor of the device has are copied there.
 * @returns what has to be copied there, and the buffers that have something of the host
 */
export function copyOrTake(
  plan: StepPlan,
  copies: readonly GradientCopy[],
  host: HostMemory,
  buffers: StepBuffers,
  backend: GpuBackend,
  inPlace: boolean,
): { readonly taken: readonly TensorCopy[]; readonly filled: ReadonlySet<GpuBuffer> } {
  const { updates, arriving } = plan;
  const taken: TensorCopy[] = [];
  const filled = new Set<GpuBuffer>();
  const here: GradientCopy[] = [];
  for (const copy of copies) {
    const { update, segment, what, from, bytes, place } = copy;
    const { memory, gradient } = updates[update]!.segments[segment]!;
    const offset = what === "all" ? undefined : valuesAt(gradient);
    const tensor = offset === undefined ? undefined : arriving?.tensorAt(memory, offset);
    if (tensor !== undefined && backend.hasTensor?.(tensor)) {
      taken.push({ tensor, from, bytes, buffer: place.buffer, offset: place.offset });
      continue;
    }
    if (tensor !== undefined && !arriving!.isHere) {
      throw new Error("A gradient is neither on the device nor on the host.");
    }
    filled.add(place.buffer);
    here.push(copy);
  }
  copyGradients(plan, here, host, buffers, inPlace);
  return { taken, filled };
}
