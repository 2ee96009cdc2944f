import type { SegmentGradient, StepOutcome } from "@shardgrad/workers";
import { UpdateStepError } from "../errors/index.js";
import type { CheckedPair } from "../gradients/pairs.js";
import { variableInternals } from "../variable/internals.js";
import { writeNow } from "../variable/writes.js";
import { isAway } from "./away.js";
import { catchUp } from "./catch-up.js";
import { averaged, execute, updatePlan } from "./kernel-step.js";
import { onlySegment, type Staging } from "./staging.js";
import type { PreparedStep, StepGradient, StepRequest } from "./step.js";

/** Clipping and averages in kernels, the update by the optimizer's own `updateStep`. */
export function* scriptStep(
  step: PreparedStep,
  staging: Staging,
): Generator<StepRequest, StepOutcome, StepOutcome | undefined> {
  const staged: SegmentGradient[] = [];
  for (const { gradient, variable } of step.pairs) {
    onlySegment(variable);
    staged.push((yield* staging.stage(gradient, variable, true))[0]!);
  }
  yield* catchUp(step);
  let outcome: StepOutcome = { device: "inline" };
  // Values that another optimizer has left on a device come home with a plan, too.
  if (step.clip.kind !== "none" || step.pairs.some(({ variable }) => isAway(variable))) {
    const updates = step.pairs.map(({ variable }, i) => updatePlan(step, variable, [staged[i]!], "clip"));
    const elements = step.pairs.reduce((sum, { gradient }) => sum + gradient.values.length, 0);
    outcome = (yield { updates, clip: step.clip, average: null, elements })!;
  }
  const variables = step.pairs.map(({ variable }) => variable);
  writeNow([...variables, ...step.slots], () => updateAll(step, staged, staging));
  if (step.average !== null) {
    const none = { kind: "none" } as const;
    const updates = variables.map((variable) => updatePlan(step, variable, [none], "average"));
    const elements = variables.reduce((sum, { size }) => sum + size, 0);
    const plan = { updates, clip: { kind: "none" }, average: step.average, elements } as const;
    const written = variables.flatMap((variable) => averaged(step, variable));
    yield* execute(step, plan, written);
  }
  return outcome;
}

function updateAll(step: PreparedStep, staged: readonly SegmentGradient[], staging: Staging): void {
  step.pairs.forEach((pair, i) => {
    try {
      step.updateStep(stepGradient(pair, staged[i]!, staging), pair.variable);
    } catch (cause) {
      const state = (k: number) => (k < i ? "applied" : k === i ? "unknown" : "notApplied");
      const damage = step.pairs.map(
        ({ variable }, k) => ({ variable: variable.name, state: state(k) }) as const,
      );
      throw new UpdateStepError({ damage, cause });
    }
  });
}

function stepGradient(
  { gradient, variable }: CheckedPair,
  staged: SegmentGradient,
  staging: Staging,
): StepGradient {
  const segment = onlySegment(variable);
  const { length } = gradient.values;
  if (gradient.kind === "dense" && staged.kind === "dense") {
    return staging.view(variable, segment, staged.offset, length);
  }
  if (gradient.kind !== "slices" || staged.kind !== "slices") throw new Error("unreachable");
  const { rowSize } = variable[variableInternals];
  return {
    indices: gradient.indices,
    values: staging.view(variable, segment, staged.values, length),
    rowSize,
  };
}
