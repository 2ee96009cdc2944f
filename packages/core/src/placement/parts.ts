import {
  type ClipPlan,
  globalScale,
  LaneLostError,
  type StepOutcome,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";

/** The same step, only to take its norm: in the order and arithmetic of the CPU alone. */
export function normPlan(plan: StepPlan): StepPlan {
  const updates = plan.updates.map((update) => ({ ...update, operation: "norm" as const }));
  return { ...plan, updates, average: null, alike: undefined };
}

/** A part of a step; with the global norm over all of it, if that is known. */
export function partOf(plan: StepPlan, updates: readonly UpdatePlan[], norm: number | undefined): StepPlan {
  const alike = updates === plan.updates ? plan.alike : undefined;
  return { ...plan, updates, clip: knownClip(plan.clip, norm, updates[0]!), alike };
}

/** Clipping by a global norm that is known is a factor. */
export function knownClip(clip: ClipPlan, norm: number | undefined, { dtype }: UpdatePlan): ClipPlan {
  if (clip.kind !== "globalNorm" || norm === undefined) return clip;
  return { kind: "scale", factor: globalScale(norm, clip.limit, dtype) };
}

export function outcomeOf(device: StepOutcome["device"], globalNorm: number | undefined): StepOutcome {
  return globalNorm === undefined ? { device } : { device, globalNorm };
}

/** The damage of the part that ran here, in terms of the whole step; the device's part was applied. */
export function damageOfBoth(
  error: LaneLostError,
  { updates }: StepPlan,
  onDevice: readonly UpdatePlan[],
  here: readonly UpdatePlan[],
): LaneLostError {
  const damage = error.damage.map((part) => ({ ...part, update: updates.indexOf(here[part.update]!) }));
  const applied = onDevice.map((update) => ({ update: updates.indexOf(update), state: "applied" as const }));
  const { cause, ended } = error;
  const more = { ...(cause === undefined ? {} : { cause }), ...(ended === undefined ? {} : { ended }) };
  return new LaneLostError(error.lane, [...damage, ...applied], more);
}
