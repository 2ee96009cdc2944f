import type { SegmentGradient, SegmentPlan, UpdatePlan } from "@shardgrad/workers";
import { type VariableInternals, variableInternals } from "../variable/internals.js";
import type { Storage } from "../variable/storage.js";
import type { Variable } from "../variable/variable.js";
import type { KernelUpdate } from "./step.js";

type Changeable<T> = { -readonly [key in keyof T]: T[key] };

/** An update whose rate and gradients a later step may set. */
interface ChangeableUpdate extends Omit<UpdatePlan, "segments" | "learningRate"> {
  learningRate: number;
  readonly segments: readonly Changeable<SegmentPlan>[];
}

/** An update, and what it was made of: while that is the same, so is the update but for its rate and gradients. */
class Known {
  readonly variable: Variable;
  readonly update: ChangeableUpdate;
  readonly #internals: VariableInternals;
  readonly #kernel: KernelUpdate;
  readonly #average: Variable | undefined;
  readonly #place: VariableInternals["place"];
  // A resize gives an array other segments, in a list of their own.
  readonly #segments: Storage["segments"];
  readonly #accumulators: Storage["segments"];
  readonly #averages: Storage["segments"] | undefined;

  constructor(variable: Variable, kernel: KernelUpdate, average: Variable | undefined, update: UpdatePlan) {
    this.variable = variable;
    this.update = update as ChangeableUpdate;
    this.#internals = variable[variableInternals];
    this.#kernel = kernel;
    this.#average = average;
    this.#place = this.#internals.place;
    this.#segments = this.#internals.storage.segments;
    this.#accumulators = kernel.accumulator[variableInternals].storage.segments;
    this.#averages = average?.[variableInternals].storage.segments;
  }

  holds(kernel: KernelUpdate, average: Variable | undefined): boolean {
    const known = this.#kernel;
    return (
      this.#segments === this.#internals.storage.segments &&
      this.#place === this.#internals.place &&
      this.#internals.lazy === undefined &&
      known.accumulator === kernel.accumulator &&
      this.#accumulators === kernel.accumulator[variableInternals].storage.segments &&
      known.operation === kernel.operation &&
      Object.is(known.epsilon, kernel.epsilon) &&
      known.perRow === kernel.perRow &&
      known.rowwise === kernel.rowwise &&
      this.#average === average &&
      (average === undefined || this.#averages === average[variableInternals].storage.segments)
    );
  }
}

/**
 * The updates of an optimizer's last plans, to be used again: in training every step is over the same variables, and plans
 * of many variables cost more to make than to run.
 *
 * Invariants: an update is used again only while everything is the same that it was made of. One step at a time uses them:
 * plans are made one after another (steps of an optimizer do not overlap), and nobody keeps an update after its step.
 */
export class KnownUpdates {
  readonly #byVariable = new Map<Variable, Known>();
  /** Those of the last list, by position. */
  #known: (Known | undefined)[] = [];
  #last: readonly UpdatePlan[] = [];

  /**
   * The update of a variable if it is known, with this step's rate and gradients; undefined otherwise.
   * @param position - in the step's list
   */
  find(
    position: number,
    variable: Variable,
    kernel: KernelUpdate,
    average: Variable | undefined,
    learningRate: number,
    gradients: readonly SegmentGradient[],
  ): UpdatePlan | undefined {
    let known = this.#known[position];
    if (known?.variable !== variable) {
      known = this.#byVariable.get(variable);
      this.#known[position] = known;
    }
    if (known?.holds(kernel, average) !== true) return undefined;
    const { update } = known;
    update.learningRate = learningRate;
    const { segments } = update;
    for (let i = 0; i < segments.length; i++) segments[i]!.gradient = gradients[i]!;
    return update;
  }

  /** Keeps an update for later steps. It must not be that of lazy averages, which have more to it. */
  keep(
    position: number,
    variable: Variable,
    kernel: KernelUpdate,
    average: Variable | undefined,
    update: UpdatePlan,
  ): void {
    const known = new Known(variable, kernel, average, update);
    this.#byVariable.set(variable, known);
    this.#known[position] = known;
  }

  /** The last list of updates where it has the same ones, else the given list. */
  list(updates: readonly UpdatePlan[]): readonly UpdatePlan[] {
    const last = this.#last;
    let isSame = last.length === updates.length;
    for (let i = 0; isSame && i < updates.length; i++) isSame = last[i] === updates[i];
    if (!isSame) this.#last = updates;
    this.#known.length = updates.length;
    return this.#last;
  }

  /** Forgets all of them. */
  clear(): void {
    this.#byVariable.clear();
    this.#known = [];
    this.#last = [];
  }
}
