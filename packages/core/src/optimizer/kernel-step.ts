import type {
  AveragePlan,
  SegmentGradient,
  SegmentPlan,
  StepOutcome,
  StepPlan,
  UpdatePlan,
} from "@shardgrad/workers";
import { variableInternals } from "../variable/internals.js";
import type { LazyAverage } from "../variable/lazy-average.js";
import type { Variable } from "../variable/variable.js";
import { closeWrites, openWrites } from "../variable/writes.js";
import { catchUp, ownLazy } from "./catch-up.js";
import type { Staging } from "./staging.js";
import type { KernelUpdate, PreparedStep, StepRequest } from "./step.js";

/** Everything fused in kernels. */
export function* kernelStep(
  step: PreparedStep,
  kernels: readonly KernelUpdate[],
  staging: Staging,
): Generator<StepRequest, StepOutcome, StepOutcome | undefined> {
  const staged: SegmentGradient[][] = [];
  for (;;) {
    staging.stageSmall(step.pairs, staged);
    const next = step.pairs[staged.length];
    if (next === undefined) break;
    const { gradient, variable } = next;
    staged.push(yield* staging.stage(gradient, variable));
    if (gradient.kind === "slices" && step.average !== null) step.makeLazy(variable);
  }
  yield* catchUp(step);
  const { plan, written } = planOf(step, kernels, staged);
  return yield* execute(step, plan, written);
}

/** The plan of a step, and the variables all of which it writes. */
function planOf(
  step: PreparedStep,
  kernels: readonly KernelUpdate[],
  staged: readonly (readonly SegmentGradient[])[],
): { readonly plan: StepPlan; readonly written: readonly Variable[] } {
  const updates: UpdatePlan[] = [];
  const written: Variable[] = [];
  let elements = 0;
  for (let i = 0; i < kernels.length; i++) {
    const { variable, gradient } = step.pairs[i]!;
    const lazy = ownLazy(step, variable);
    if (step.average !== null) lazy?.begin(step.average);
    updates.push(
      updatePlan(step, variable, staged[i]!, kernels[i]!, gradient.kind === "slices" ? lazy : undefined),
    );
    // Row work costs about twice as much an element as dense work.
    elements += gradient.kind === "dense" ? variable.size : 2 * gradient.values.length;
    if (gradient.kind === "slices" && step.average !== null && lazy === undefined) elements += variable.size;
    if (gradient.kind === "dense") written.push(variable, kernels[i]!.accumulator);
    if (step.average !== null && (gradient.kind === "dense" || lazy === undefined)) {
      written.push(...averaged(step, variable));
    }
  }
  const { clip, average, accelerated } = step;
  return { plan: { updates, clip, average, elements, accelerated }, written };
}

/** Runs a plan that writes all of some variables. Lazy averages count it. */
export function* execute(
  step: PreparedStep,
  plan: StepPlan,
  written: readonly Variable[],
): Generator<StepPlan, StepOutcome, StepOutcome | undefined> {
  openWrites("device", written);
  let outcome: StepOutcome;
  try {
    outcome = (yield plan)!;
    if (step.average !== null) countStep(step, step.average);
  } catch (error) {
    closeWrites("device", written, error);
    throw error;
  }
  closeWrites("device", written);
  return outcome;
}

/** Lazy averages count a step. */
function countStep(step: PreparedStep, average: AveragePlan): void {
  for (const { gradient, variable } of step.pairs)
    ownLazy(step, variable)?.stepped(average, gradient.kind === "dense");
}

/** What the step's averages write of a variable: all of its average, and all of it when it is overwritten. */
export function averaged(step: PreparedStep, variable: Variable): Variable[] {
  if (step.average === null) return [];
  const average = step.averageOf(variable)!;
  return step.average.overwrite ? [average, variable] : [average];
}

export function updatePlan(
  step: PreparedStep,
  variable: Variable,
  gradients: readonly SegmentGradient[],
  update: KernelUpdate | "clip" | "average",
  lazy?: LazyAverage,
): UpdatePlan {
  const { storage, rowSize, pin, place } = variable[variableInternals];
  const kernel = typeof update === "string" ? undefined : update;
  const average = step.average === null ? undefined : step.averageOf(variable);
  const segments = storage.segments.map(
    ({ start, count, block, home, versions }, i): SegmentPlan => ({
      memory: home.arena.id,
      start,
      count,
      variable: block.offset,
      accumulator: offsetOf(kernel?.accumulator, i),
      average: offsetOf(average, i),
      gradient: gradients[i]!,
      versions: versions.block.offset,
      versionMask: versions.mask,
      lazy: lazy?.offset(i) ?? 0,
    }),
  );
  return {
    operation: kernel?.operation ?? (update as "clip" | "average"),
    name: variable.name,
    place,
    keptLazily: variable[variableInternals].lazy !== undefined,
    dtype: variable.dtype,
    rowSize,
    pin,
    segments,
    learningRate: step.learningRate,
    epsilon: kernel?.epsilon ?? 0,
    perRow: kernel?.perRow ?? false,
    rowwise: kernel?.rowwise ?? false,
  };
}

function offsetOf(variable: Variable | undefined, segment: number): number {
  return variable === undefined ? 0 : variable[variableInternals].storage.segments[segment]!.block.offset;
}
