import {
  type ArrivingGradients,
  type AveragePlan,
  type ClipPlan,
  type DType,
  LaneLostError,
  type SegmentGradient,
  type SegmentPlan,
  type StepOutcome,
  type StepPlan,
  type TypedArray,
  type UpdatePlan,
} from "@shardgrad/workers";
import { ArgumentError, StateError, UpdateStepError, WorkerLostError } from "../errors/index.js";
import type { CheckedPair } from "../gradients/pairs.js";
import type { RuntimeInternals } from "../runtime/internals.js";
import { fillInParts } from "../variable/fill-in-parts.js";
import type { PendingFill } from "../variable/initializers.js";
import { variableInternals } from "../variable/internals.js";
import type { LazyAverage } from "../variable/lazy-average.js";
import type { Variable } from "../variable/variable.js";
import { closeWrites, freeRows, openWrites, writeNow, writing } from "../variable/writes.js";
import { catchUp, ownLazy } from "./catch-up.js";
import { variableDamage } from "./damage.js";
import { onlySegment, PAUSE, type Pause, Staging } from "./staging.js";

/** What a step does to one variable, in kernels. */
export interface KernelUpdate {
  readonly operation: "adagrad";
  readonly accumulator: Variable;
  readonly epsilon: number;
  /** Sum the slices of a row before squaring. */
  readonly perRow: boolean;
  /** The accumulator has one element a row. */
  readonly rowwise: boolean;
}

/** A gradient as `updateStep` gets it: dense, or the named rows of it; clipped, of the variable's dtype. */
export type StepGradient =
  | TypedArray
  | { readonly indices: Uint32Array; readonly values: TypedArray; readonly rowSize: number };

/** One step with everything checked. */
export interface PreparedStep {
  readonly pairs: readonly CheckedPair[];
  readonly learningRate: number;
  readonly clip: ClipPlan;
  readonly average: AveragePlan | null;
  /** Whether an accelerator may take it. */
  readonly accelerated: boolean;
  /** Gradients that are still being filled, where kernels take them as they are: of steps in kernels only. */
  readonly arriving?: ArrivingGradients | undefined;
  /** All slots of the optimizer; none is freed while the step runs. */
  readonly slots: readonly Variable[];
  /** What new slots are to be filled with before anything reads them; undefined when the step made none. */
  readonly pending?: readonly PendingFill[] | undefined;
  /** Called when they are filled. */
  readonly filled?: () => void;
  readonly averageOf: (variable: Variable) => Variable | undefined;
  /** Keeps the averages of a table row by row from now on, where the optimizer wants it. */
  readonly makeLazy: (variable: Variable) => void;
  /** The kernels of a variable's update, or null where the optimizer updates in JavaScript. */
  readonly kernelsOf: (variable: Variable) => KernelUpdate | null;
  readonly updateStep: (gradient: StepGradient, variable: Variable) => void;
}

/** What the driver is asked for: to let the event loop run, or to execute a plan. */
export type StepRequest = Pause | StepPlan;

/**
 * Performs one step, written once for the asynchronous and the synchronous call: the driver answers each
 * request in its own way. Nothing of any variable is written before the first plan is executed.
 */
export function* performStep(
  step: PreparedStep,
  { memory, device }: RuntimeInternals,
): Generator<StepRequest, StepOutcome, StepOutcome | undefined> {
  const byNorm = step.clip.kind === "norm" || step.clip.kind === "globalNorm";
  const staging = new Staging(memory, { byNorm, reachesAll: (dtype) => device.reachesAll(dtype) });
  const variables = step.pairs.map(({ variable }) => variable);
  const kernels = variables.map(step.kernelsOf);
  checkSlots(step, variables, kernels);
  const letGo = holdAll([...variables, ...step.slots]);
  let ended: Promise<unknown> | undefined;
  try {
    if (step.pending !== undefined) yield* writing("paused", step.slots, fill(step.pending));
    step.filled?.();
    return kernels.every((update) => update !== null)
      ? yield* kernelStep(step, kernels as KernelUpdate[], staging)
      : yield* scriptStep(step, staging);
  } catch (error) {
    if (!(error instanceof LaneLostError)) throw error;
    freeRows(error, variables);
    ended = error.ended;
    throw new WorkerLostError({ damage: variableDamage(error, step), cause: error });
  } finally {
    const release = () => {
      staging.release();
      letGo();
    };
    // A thread that was given up may read and write for a moment still.
    if (ended === undefined) release();
    else void ended.then(release);
  }
}

/** Keeps the memory of variables; returns how to let go of it. */
function holdAll(variables: readonly Variable[]): () => void {
  const held = variables.map((variable) => variable[variableInternals].storage);
  for (const storage of held) storage.hold();
  return () => {
    for (const storage of held) storage.letGo();
  };
}

function* fill(pending: readonly PendingFill[]): Generator<Pause, void, unknown> {
  for (const _ of fillInParts(pending)) yield PAUSE;
}

/** Everything fused in kernels. */
function* kernelStep(
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
  const { clip, average, accelerated, arriving } = step;
  return { plan: { updates, clip, average, elements, accelerated, arriving }, written };
}

/** Runs a plan that writes all of some variables. Lazy averages count it. */
function* execute(
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
function averaged(step: PreparedStep, variable: Variable): Variable[] {
  if (step.average === null) return [];
  const average = step.averageOf(variable)!;
  return step.average.overwrite ? [average, variable] : [average];
}

/** Clipping and averages in kernels, the update by the optimizer's own `updateStep`. */
function* scriptStep(
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
  if (step.clip.kind !== "none") {
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

function updatePlan(
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

/** @throws StateError: a slot that the step would write is missing or was disposed */
function checkSlots(
  step: PreparedStep,
  variables: readonly Variable[],
  kernels: readonly (KernelUpdate | null)[],
): void {
  variables.forEach((variable, i) => {
    const kernel = kernels[i] ?? null;
    const isGone = (slot: Variable | undefined) => slot === undefined || slot.disposed;
    if (
      (kernel !== null && isGone(kernel.accumulator)) ||
      (step.average !== null && isGone(step.averageOf(variable)))
    )
      throw new StateError(`A slot of ${variable.name} is gone.`);
  });
}

function offsetOf(variable: Variable | undefined, segment: number): number {
  return variable === undefined ? 0 : variable[variableInternals].storage.segments[segment]!.block.offset;
}

/** @throws ArgumentError: a global norm over several dtypes is undefined, as in TensorFlow */
export function checkOneDtype(pairs: readonly CheckedPair[], clip: ClipPlan): void {
  if (clip.kind !== "globalNorm") return;
  const dtypes = new Set<DType>(pairs.map(({ variable }) => variable.dtype));
  if (dtypes.size <= 1) return;
  const expected = "variables of one dtype, as globalClipnorm is set";
  throw new ArgumentError({ argument: "pairs", received: [...dtypes].join(", "), expected });
}

/** Runs a step to its end, the event loop free in between. */
export async function driveAsync(
  step: Generator<StepRequest, StepOutcome, StepOutcome | undefined>,
  { device, share }: RuntimeInternals,
): Promise<StepOutcome> {
  let next = step.next();
  // Only now: the step has been checked and holds its memory, as its caller may dispose of things at once.
  const turn = share.turn();
  if (turn !== undefined) await turn;
  while (!next.done) {
    try {
      const answer = next.value === PAUSE ? await eventLoopTurn() : await device.run(next.value);
      next = step.next(answer);
    } catch (error) {
      next = step.throw(error);
    }
  }
  return next.value;
}

/** Runs a step to its end on the calling thread, which computes a share of it. */
export function driveSync(
  step: Generator<StepRequest, StepOutcome, StepOutcome | undefined>,
  { device }: RuntimeInternals,
): StepOutcome {
  let next = step.next();
  while (!next.done) {
    try {
      next = step.next(next.value === PAUSE ? undefined : device.runSync(next.value));
    } catch (error) {
      next = step.throw(error);
    }
  }
  return next.value;
}

function eventLoopTurn(): Promise<undefined> {
  return new Promise((resolve) => {
    setImmediate(resolve, undefined);
  });
}
