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
  let areDense = true;
  for (let i = 0; i < kernels.length; i++) {
    const { variable, gradient } = step.pairs[i]!;
    const isDense = gradient.kind === "dense";
    areDense &&= isDense;
    const lazy = ownLazy(step, variable);
    if (step.average !== null) lazy?.begin(step.average);
    updates.push(updateOf(step, i, kernels[i]!, staged[i]!, isDense ? undefined : lazy));
    // Row work costs about twice as much an element as dense work.
    elements += isDense ? variable.size : 2 * gradient.values.length;
    if (!isDense && step.average !== null && lazy === undefined) elements += variable.size;
    if (isDense) written.push(variable, kernels[i]!.accumulator);
    if (step.average !== null && (isDense || lazy === undefined)) {
      written.push(step.averageOf(variable)!);
      if (step.average.overwrite) written.push(variable);
    }
  }
  const { clip, average, accelerated, arriving } = step;
  const listed = step.known?.list(updates) ?? updates;
  const alike = areDense && step.known !== undefined ? listed : undefined;
  return { plan: { updates: listed, clip, average, elements, accelerated, alike, arriving }, written };
}

/** The update of a variable: a known one with this step's rate and gradients, or a new one. */
function updateOf(
  step: PreparedStep,
  position: number,
  kernel: KernelUpdate,
  gradients: readonly SegmentGradient[],
  lazy: LazyAverage | undefined,
): UpdatePlan {
  const { known, learningRate } = step;
  const { variable } = step.pairs[position]!;
  if (known === undefined || variable[variableInternals].lazy !== undefined) {
    return updatePlan(step, variable, gradients, kernel, lazy);
  }
  const average = step.average === null ? undefined : step.averageOf(variable);
  const found = known.find(position, variable, kernel, average, learningRate, gradients);
  if (found !== undefined) return found;
  const made = updatePlan(step, variable, gradients, kernel);
  known.keep(position, variable, kernel, average, made);
  return made;
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
