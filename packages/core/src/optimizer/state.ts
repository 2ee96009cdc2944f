import type { AveragePlan, ClipPlan } from "@shardgrad/workers";
import { ArgumentError, OptionError, StateError, UnknownVariableError } from "../errors/index.js";
import { runtimeInternals } from "../runtime/internals.js";
import { Runtime } from "../runtime/runtime.js";
import type { LearningRateSchedule } from "../schedules/index.js";
import { variableInternals } from "../variable/internals.js";
import { LazyAverage } from "../variable/lazy-average.js";
import type { Variable } from "../variable/variable.js";
import { KnownUpdates } from "./known-updates.js";
import { type CheckedOptions, checkRate, isSchedule, type OptimizerOptions } from "./options.js";
import { Slots } from "./slots.js";

const DEFAULT_RATE = 0.001;

/** What an optimizer knows between steps. */
export class OptimizerState {
  readonly clip: ClipPlan;
  readonly schedule: LearningRateSchedule | undefined;
  readonly slots = new Slots();
  readonly known = new KnownUpdates();
  /** Position of each model variable in the list that the optimizer was built with. */
  readonly index = new Map<Variable, number>();
  averages: readonly Variable[] = [];
  runtime: Runtime | undefined;
  /** The rate of the last step with a schedule, else the one that is set. */
  rate: number;
  iterations = 0;
  built = false;
  disposed = false;
  /** Asynchronous steps that wait or run. */
  pending = 0;
  /** Whether the first step has made slots that do not have their values yet. */
  filling = false;

  /**
   * @param prefix - stands in front of the names of slots that a step makes
   */
  constructor(
    readonly options: CheckedOptions,
    readonly prefix: string,
    { learningRate = DEFAULT_RATE, runtime }: OptimizerOptions,
  ) {
    this.clip = clipOf(options);
    this.runtime = runtime;
    this.schedule = isSchedule(learningRate) ? learningRate : undefined;
    this.rate = isSchedule(learningRate) ? scheduledRate(learningRate, 0) : checkRate(learningRate);
  }

  /** The rate of the next step. @throws OptionError when the schedule does not give a number, or NaN */
  nextRate(set: number): number {
    if (this.schedule === undefined) return set;
    const rate = scheduledRate(this.schedule, this.iterations);
    if (!Number.isNaN(rate)) return rate;
    const expected = `a number from the schedule for step ${this.iterations}`;
    throw new OptionError({ argument: "learningRate", received: rate, expected });
  }

  /** The averages of the next step; null without EMA. */
  nextAverage(): AveragePlan | null {
    const { useEma, emaMomentum, emaOverwriteFrequency } = this.options;
    if (!useEma) return null;
    const frequency = Number(emaOverwriteFrequency ?? 0);
    const overwrite = frequency > 0 && (this.iterations + 1) % frequency === 0;
    return { momentum: emaMomentum, overwrite };
  }

  averageOf(variable: Variable): Variable | undefined {
    const position = this.index.get(variable);
    return position === undefined ? undefined : this.averages[position];
  }

  /**
   * Keeps the averages of a table row by row from now on, where the options say so.
   * @throws MemoryExhaustedError: nothing has changed
   */
  makeLazy(variable: Variable): void {
    const internals = variable[variableInternals];
    const average = this.averageOf(variable);
    const { sparseEma, emaMomentum, emaOverwriteFrequency } = this.options;
    // Another optimizer's lazy averages have the place; these are kept eagerly then.
    if (sparseEma === "eager" || average === undefined || internals.lazy !== undefined) return;
    const overwrites = Number(emaOverwriteFrequency ?? 0) > 0;
    const { memory } = internals.runtime[runtimeInternals];
    new LazyAverage(memory, variable, average, { momentum: emaMomentum, overwrites });
  }

  /** The lazy averages of this optimizer. */
  get lazies(): LazyAverage[] {
    return this.averages.flatMap((average) => average[variableInternals].lazy ?? []);
  }

  /** @throws UnknownVariableError for a variable that the optimizer was not built with */
  checkKnown(variables: readonly Variable[]): void {
    let unknown: Variable | undefined;
    for (const variable of variables) if (!this.index.has(variable)) unknown ??= variable;
    if (unknown === undefined) return;
    const message =
      `The optimizer cannot recognize variable ${unknown.name}. This usually means that you're reusing an ` +
      "optimizer previously created for a different model. Try creating a new optimizer instance.";
    const expected = "a variable of the first step";
    throw new UnknownVariableError({ argument: "variable", received: unknown.name, expected, message });
  }

  /** @throws ArgumentError for a list of another length than the averages */
  checkFinalizedLength(variables: readonly Variable[]): void {
    if (!Array.isArray(variables)) {
      throw new ArgumentError({
        argument: "variables",
        received: variables,
        expected: "an array of Variables",
      });
    }
    const stored = this.averages.length;
    if (variables.length === stored) return;
    const message =
      `The length of model variables (${variables.length}) to override does not match the length of model ` +
      `variables stored in the optimizer (${stored}). Please check if the optimizer was called on your model.`;
    const expected = `${stored} variables`;
    throw new ArgumentError({ argument: "variables", received: variables, expected, message });
  }

  /** The optimizer's runtime, or that of the variables, or the shared one. */
  runtimeFor(variables: readonly Variable[] = []): Runtime {
    return this.runtime ?? variables[0]?.[variableInternals].runtime ?? Runtime.default();
  }

  /** Takes back a build, and the slots after the first `count`. */
  undoBuild(count: number): void {
    this.slots.dropFrom(count);
    this.known.clear();
    this.averages = [];
    this.index.clear();
    this.built = false;
    this.filling = false;
  }

  /** @throws StateError */
  refuseWhenDisposed(): void {
    if (this.disposed) throw new StateError("The optimizer was disposed: its slots are gone.");
  }

  /** @throws StateError */
  refuseWhileFilling(call: string): void {
    if (!this.filling) return;
    throw new StateError(`${call}: the optimizer's first step is filling its slots; await it first.`);
  }

  /** @throws StateError */
  refuseWhilePending(call: string, pending = this.pending): void {
    if (pending === 0) return;
    throw new StateError(`${call}: ${pending} asynchronous steps are pending; await them first.`);
  }

  /** The same with what other optimizers and variables have in the queue of the runtime. @throws StateError */
  refuseWhileQueueRuns(call: string): void {
    this.refuseWhilePending(call, this.runtimeFor()[runtimeInternals].queue.pending);
  }
}

/** Exactly one kind of clipping, first match wins; null, 0 and negative numbers are off. */
function clipOf({ clipnorm, globalClipnorm, clipvalue }: CheckedOptions): ClipPlan {
  if (isOn(clipnorm)) return { kind: "norm", limit: clipnorm };
  if (isOn(globalClipnorm)) return { kind: "globalNorm", limit: globalClipnorm };
  if (isOn(clipvalue)) return { kind: "value", limit: clipvalue };
  return { kind: "none" };
}

function isOn(limit: number | null): limit is number {
  return limit !== null && limit > 0;
}

/** NaN for a schedule that does not give a number: a step refuses that, reading the rate does not. */
function scheduledRate(schedule: LearningRateSchedule, iterations: number): number {
  const rate: unknown = schedule.call(iterations);
  return typeof rate === "number" ? Math.fround(rate) : Number.NaN;
}
