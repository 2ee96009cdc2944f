import type { ArrivingGradients, StepOutcome } from "@shardgrad/workers";
import { UpdateStepError, WorkerLostError } from "../errors/index.js";
import type { SafeEmitter } from "../events/emitter.js";
import type { GradientPair } from "../gradients/gradient.js";
import { checkPairs, checkVariables, pairList, warnOfMissing } from "../gradients/pairs.js";
import type { Runtime } from "../runtime/runtime.js";
import type { PendingFill } from "../variable/initializers.js";
import type { Variable } from "../variable/variable.js";
import type { OptimizerEvents } from "./events.js";
import type { OptimizerState } from "./state.js";
import { checkOneDtype, type KernelUpdate, type PreparedStep, type StepGradient } from "./step.js";

/** What one call of applyGradients asked for. */
export interface StepCall {
  readonly list: readonly GradientPair[];
  readonly skipGradientsAggregation: boolean;
  readonly runtime: Runtime;
  /** The rate that was set at the time of the call. */
  readonly rate: number;
  /** Gradients of the list that are still being filled. */
  readonly arriving?: ArrivingGradients | undefined;
}

/** What a step asks of its optimizer; subclasses may override all of it. */
export interface StepHooks {
  readonly events: SafeEmitter<OptimizerEvents>;
  aggregate(pairs: readonly GradientPair[]): readonly GradientPair[];
  applied(): void;
  build(variables: readonly Variable[]): void;
  /** Tells the listeners that the slots are there. */
  built(variables: readonly Variable[]): void;
  kernelsOf(variable: Variable): KernelUpdate | null;
  updateStep(gradient: StepGradient, variable: Variable): void;
}

export interface BegunStep {
  readonly prepared: PreparedStep;
  /** Counts the step and tells the listeners; called once, after everything was written. */
  end(outcome: StepOutcome): void;
  /** Takes back what the step prepared, unless it has changed variables, and throws the error on. */
  fail(error: unknown): never;
}

/** Checks everything a step needs, and builds the optimizer on the first. Changes no variable. */
export function beginStep(call: StepCall, state: OptimizerState, hooks: StepHooks): BegunStep {
  const startedAt = performance.now();
  state.refuseWhenDisposed();
  if (!call.skipGradientsAggregation) warnOfMissing(call.list);
  const list = call.skipGradientsAggregation ? call.list : pairList(hooks.aggregate(call.list));
  const pairs = checkPairs(list);
  const variables = pairs.map(({ variable }) => variable);
  checkVariables(variables, call.runtime);
  checkOneDtype(pairs, state.clip);
  const learningRate = state.nextRate(call.rate);
  if (state.built) state.checkKnown(variables);
  warnOfMissing(list);
  const { pending, undo } = state.built ? nothingBuilt : buildForStep(variables, state, hooks);
  const average = state.nextAverage();
  state.filling = pending !== undefined;
  const filled = () => {
    state.filling = false;
    if (pending !== undefined) hooks.built(variables);
  };
  const prepared: PreparedStep = {
    pairs,
    learningRate,
    clip: state.clip,
    average,
    accelerated: state.options.jitCompile,
    known: state.known,
    arriving: call.arriving,
    slots: [...state.slots.all],
    pending,
    filled,
    averageOf: (variable) => state.averageOf(variable),
    makeLazy: (variable) => state.makeLazy(variable),
    kernelsOf: hooks.kernelsOf,
    updateStep: (gradient, variable) => {
      // An updateStep reads `learningRate`, which must be this step's and go back if the step fails.
      const before = state.rate;
      state.rate = learningRate;
      try {
        hooks.updateStep(gradient, variable);
      } finally {
        state.rate = before;
      }
    },
  };
  const end = (outcome: StepOutcome) => {
    state.iterations++;
    if (state.schedule !== undefined) state.rate = learningRate;
    hooks.applied();
    announce(prepared, variables, outcome, performance.now() - startedAt, state, hooks.events);
  };
  const fail = (error: unknown): never => {
    if (!(error instanceof WorkerLostError || error instanceof UpdateStepError)) undo();
    throw error;
  };
  return { prepared, end, fail };
}

interface StepBuild {
  /** What the new slots are still to be filled with; undefined when none were made. */
  readonly pending: readonly PendingFill[] | undefined;
  undo(): void;
}

const nothingBuilt: StepBuild = { pending: undefined, undo() {} };

/**
 * Builds the optimizer and returns how to undo it. Slots that a step makes carry the optimizer's name; they are
 * given back when building, or the rest of the first step, fails.
 */
function buildForStep(variables: readonly Variable[], state: OptimizerState, hooks: StepHooks): StepBuild {
  const { slots } = state;
  const made = slots.all.length;
  const undo = () => state.undoBuild(made);
  const pending: PendingFill[] = [];
  slots.prefix = `${state.prefix}/`;
  slots.pending = pending;
  try {
    hooks.build(variables);
    state.checkKnown(variables);
  } catch (error) {
    undo();
    throw error;
  } finally {
    slots.prefix = "";
    slots.pending = undefined;
  }
  return { pending, undo };
}

function announce(
  { pairs, learningRate, average }: PreparedStep,
  variables: readonly Variable[],
  outcome: StepOutcome,
  durationMs: number,
  { iterations }: OptimizerState,
  events: SafeEmitter<OptimizerEvents>,
): void {
  if (average?.overwrite && events.wants("emaOverwrite"))
    events.emit("emaOverwrite", { iterations, variables });
  if (!events.wants("iteration")) return;
  const elements = pairs.reduce((sum, { gradient }) => sum + gradient.values.length, 0);
  events.emit("iteration", { iterations, learningRate, durationMs, variables, elements, ...outcome });
}
