import {
  type ArrivingGradients,
  type AveragePlan,
  type ClipPlan,
  type DType,
  LaneLostError,
  type StepOutcome,
  type StepPlan,
  type TypedArray,
} from "@shardgrad/workers";
import { ArgumentError, StateError, WorkerLostError } from "../errors/index.js";
import type { CheckedPair } from "../gradients/pairs.js";
import type { RuntimeInternals } from "../runtime/internals.js";
import { fillInParts } from "../variable/fill-in-parts.js";
import type { PendingFill } from "../variable/initializers.js";
import { variableInternals } from "../variable/internals.js";
import type { Storage } from "../variable/storage.js";
import type { Variable } from "../variable/variable.js";
import { freeRows, writing } from "../variable/writes.js";
import { variableDamage } from "./damage.js";
import { kernelStep } from "./kernel-step.js";
import type { KnownUpdates } from "./known-updates.js";
import { scriptStep } from "./script-step.js";
import { PAUSE, type Pause, Staging } from "./staging.js";

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
  /** The updates of earlier steps of the optimizer, to be used again. */
  readonly known?: KnownUpdates;
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
  if (device.isBusy) refuseWhileWritten(variables, device);
  const letGo = holdAll(variables, step.slots);
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

/** Keeps the memory of variables and slots; returns how to let go of it. */
function holdAll(variables: readonly Variable[], slots: readonly Variable[]): () => void {
  const held: Storage[] = [];
  for (const variable of variables) held.push(variable[variableInternals].storage);
  for (const slot of slots) held.push(slot[variableInternals].storage);
  for (const storage of held) storage.hold();
  return () => {
    for (const storage of held) storage.letGo();
  };
}

function* fill(pending: readonly PendingFill[]): Generator<Pause, void, unknown> {
  for (const _ of fillInParts(pending)) yield PAUSE;
}

/** @throws StateError: a slot that the step would write is missing or was disposed */
function checkSlots(
  step: PreparedStep,
  variables: readonly Variable[],
  kernels: readonly (KernelUpdate | null)[],
): void {
  for (let i = 0; i < variables.length; i++) {
    const variable = variables[i]!;
    const kernel = kernels[i] ?? null;
    if (
      (kernel !== null && isGone(kernel.accumulator)) ||
      (step.average !== null && isGone(step.averageOf(variable)))
    )
      throw new StateError(`A slot of ${variable.name} is gone.`);
  }
}

function isGone(slot: Variable | undefined): boolean {
  return slot === undefined || slot.disposed;
}

/** @throws StateError in a synchronous step beside another optimizer's: both would write the same elements at a time */
function refuseWhileWritten(variables: readonly Variable[], device: RuntimeInternals["device"]): void {
  const written = variables.find((variable) =>
    variable[variableInternals].storage.segments.some(({ home, block }) =>
      device.isWriting(home.arena.id, block.offset),
    ),
  );
  if (written === undefined) return;
  throw new StateError(`An asynchronous step is writing ${written.name}: await it before a synchronous one.`);
}

/** @throws ArgumentError: a global norm over several dtypes is undefined, as in TensorFlow */
export function checkOneDtype(pairs: readonly CheckedPair[], clip: ClipPlan): void {
  if (clip.kind !== "globalNorm") return;
  const dtypes = new Set<DType>(pairs.map(({ variable }) => variable.dtype));
  if (dtypes.size <= 1) return;
  const expected = "variables of one dtype, as globalClipnorm is set";
  throw new ArgumentError({ argument: "pairs", received: [...dtypes].join(", "), expected });
}
