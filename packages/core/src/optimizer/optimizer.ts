import type { StepOutcome } from "@shardgrad/workers";
import { ClosedRuntimeError, StateError } from "../errors/index.js";
import type { GradientAggregator } from "../gradients/aggregators.js";
import type { GradientPair } from "../gradients/gradient.js";
import { checkVariables, pairList } from "../gradients/pairs.js";
import {
  type ComputedGradients,
  differentiate,
  type GradientTape,
  type LossWithGradients,
} from "../gradients/tape.js";
import { TensorGradients } from "../gradients/tensor-gradients.js";
import { runtimeInternals } from "../runtime/internals.js";
import type { Runtime } from "../runtime/runtime.js";
import { type CustomSchedules, serializeSchedule } from "../schedules/index.js";
import { catchUpSync } from "../variable/catch-up.js";
import { variableInternals } from "../variable/internals.js";
import { catchUpAtLast } from "../variable/last-catch-up.js";
import type { Variable } from "../variable/variable.js";
import { checkApplyOptions } from "./apply-options.js";
import { OptimizerAttributes, optimizerState } from "./attributes.js";
import { bringHome } from "./away.js";
import { type BegunStep, beginStep, type StepCall, type StepHooks } from "./begin.js";
import { type OptimizerConfig, optionsFromConfig } from "./config.js";
import { driveAsync, driveSync } from "./drive.js";
import type { OptimizerOptions } from "./options.js";
import { copyOf, copyValues, internalsOf } from "./slots.js";
import { type KernelUpdate, performStep, type StepGradient } from "./step.js";
import { TensorStep } from "./tensor-step.js";

/** What a call of `applyGradients` or `applyGradientsSync` may say beside the gradients. */
export interface ApplyOptions {
  /** Uses the gradients as they are, without `aggregateGradients`. Default false. */
  readonly skipGradientsAggregation?: boolean | undefined;
  /** Aborts a step that has not started; one that has started always completes. */
  readonly signal?: AbortSignal | undefined;
}

/** What `fromConfig` takes beside the config, which is plain data and has no place for it. */
export interface FromConfigOptions {
  readonly runtime?: Runtime | undefined;
  /** Schedule classes of your own, by class name. */
  readonly customObjects?: CustomSchedules | undefined;
}

/**
 * The base of optimizers, after Keras 2.9.0's experimental `Optimizer`. A subclass with `build`, `updateStep`
 * and `getConfig` gets clipping, averages, overwriting, schedules, aggregation and events from here.
 *
 * @example
 * import { Optimizer, Variable } from "@shardgrad/core";
 * class GradientDescent extends Optimizer {
 *   updateStep(gradient, { data }) {
 *     for (let i = 0; i < data.length; i++) data[i] -= this.learningRate * gradient[i];
 *   }
 * }
 * await new GradientDescent({ learningRate: 1, clipvalue: 0.5 }).applyGradients([[[1, 2], Variable.ones([2])]]);
 */
export abstract class Optimizer extends OptimizerAttributes {
  readonly #aggregator: GradientAggregator | undefined;

  /**
   * @param ownOptions - names of further options that the subclass has checked itself
   * @throws OptionError for an unknown or bad option
   */
  constructor(options: OptimizerOptions = {}, ownOptions: readonly string[] = []) {
    super(options, ownOptions);
    this.#aggregator = options.aggregator;
  }

  /**
   * Makes the slots for a list of variables; the first step calls it. Only the first call counts. A subclass
   * calls `super.build` first and adds slots of its own unless `built` was true already.
   * @throws DisposedVariableError, DuplicateVariableError, ArgumentError
   */
  build(variables: readonly Variable[]): void {
    const state = this[optimizerState];
    state.refuseWhenDisposed();
    if (state.built) return;
    const runtime = state.runtimeFor(variables);
    checkVariables(variables, runtime);
    state.runtime = runtime;
    if (state.options.useEma) {
      state.averages = this.makeSlots(variables, "average", copyOf);
    }
    variables.forEach((variable, i) => {
      state.index.set(variable, i);
    });
    state.built = true;
    // A step tells it itself, when the slots have their values.
    if (state.slots.pending === undefined) this.#hooks.built(variables);
  }

  /**
   * Changes one variable by its gradient, which is clipped already. Must leave everything else as it is.
   * Typed arrays live in shared memory and are valid during the call only.
   */
  abstract updateStep(gradient: StepGradient, variable: Variable): void;

  /** @throws UnknownVariableError for a variable that the optimizer was not built with */
  protected checkKnown(variables: readonly Variable[]): void {
    this[optimizerState].checkKnown(variables);
  }

  /** The kernels that do what `updateStep` does, where there are any. */
  protected kernelUpdate(_variable: Variable): KernelUpdate | null {
    return null;
  }

  /**
   * Sums gradients over replicas: by the `aggregator` option, or not at all. Override it for your own. Gradients that were
   * tensors come as arrays of their own.
   * Source: Keras 2.9.0 `Optimizer.aggregate_gradients`.
   */
  aggregateGradients(pairs: readonly GradientPair[]): readonly GradientPair[] {
    return this.#aggregator?.aggregateGradients(pairs) ?? pairs;
  }

  /**
   * One step, without blocking the event loop. Steps run in the order of the calls. Arrays of gradients belong to the
   * step until its promise settles; of tensors it takes the values at the call, and they may be disposed then. Source: Keras 2.9.0 `Optimizer.apply_gradients`; see also docs/semantics.md.
   *
   * @param pairs - [gradient, variable]; a null gradient leaves its variable out
   * @throws (rejects) ArgumentError and its subclasses, GradientReadError, ClosedRuntimeError, QueueFullError, the signal's
   *   reason: nothing has changed. WorkerLostError, UpdateStepError: `damage` says what has.
   * @example
   * import { Adagrad, Variable } from "@shardgrad/core";
   * const [table, bias] = [Variable.zeros([9, 2]), Variable.zeros([2])];
   * await new Adagrad().applyGradients([[{ indices: [4], values: [[1, 2]] }, table], [[0.5, 1], bias]]);
   */
  applyGradients(pairs: Iterable<GradientPair>, options: ApplyOptions = {}): Promise<void> {
    const state = this[optimizerState];
    let call: StepCall;
    let tensors: TensorStep | undefined;
    try {
      call = this.#call(pairs, options);
      tensors = TensorStep.of(call, state, this.#hooks, this.#aggregates);
    } catch (error) {
      return Promise.reject(error);
    }
    const internals = internalsOf(call.runtime);
    state.pending++;
    const perform = async (ready: StepCall) => {
      // Averages begin as the values.
      const coming = state.built ? undefined : bringHome(ready.list.map(([, variable]) => variable));
      if (coming !== undefined) await coming;
      const step: BegunStep = beginStep(ready, state, this.#hooks);
      const work = performStep(step.prepared, internals);
      step.end(await driveAsync(work, internals).catch(step.fail));
    };
    const run = () => (tensors === undefined ? perform(call) : tensors.perform(perform));
    return internals.queue.run(run, options.signal).finally(() => {
      state.pending--;
      tensors?.release();
    });
  }

  /**
   * One step on the calling thread, which computes a share of it beside the worker threads once those are up
   * (`await runtime.ready()`). For offline loops.
   * @throws as applyGradients; GradientReadError for tensors whose back end has no `dataSync` here (WebGPU in Node);
   *   StateError while asynchronous steps of this optimizer are pending, or threads write one of the variables for a step of
   *   another optimizer; StaleValuesError when values are on a device that the step needs on the CPU:
   *   `await runtime.synchronize()` first. Nothing has changed
   */
  applyGradientsSync(pairs: Iterable<GradientPair>, options: ApplyOptions = {}): void {
    const call = this.#call(pairs, options);
    this[optimizerState].refuseWhilePending("applyGradientsSync");
    options.signal?.throwIfAborted();
    const internals = internalsOf(call.runtime);
    if (internals.queue.closed) throw new ClosedRuntimeError();
    const list = TensorGradients.arraysSync(call.list, this.#aggregates);
    const step: BegunStep = beginStep({ ...call, list }, this[optimizerState], this.#hooks);
    let outcome: StepOutcome;
    try {
      outcome = driveSync(performStep(step.prepared, internals), internals);
    } catch (error) {
      step.fail(error);
    }
    step.end(outcome);
  }

  /**
   * Gradient pairs of a loss. A promise of them when the loss returns a promise.
   * Source: Keras 2.9.0 `Optimizer.compute_gradients`.
   * @param loss - with a tape: a value computed under it, or a function that computes one; without: a function
   *   that returns `{ loss, gradients }`
   * @throws ArgumentError
   */
  computeGradients<Loss>(
    loss: (() => LossWithGradients<Loss>) | (() => Loss) | Loss,
    variables: readonly Variable[],
    tape?: GradientTape<Loss>,
  ): GradientPair[];
  computeGradients<Loss>(
    loss: () => Promise<LossWithGradients<Loss> | Loss>,
    variables: readonly Variable[],
    tape?: GradientTape<Loss>,
  ): Promise<GradientPair[]>;
  computeGradients(
    loss: unknown,
    variables: readonly Variable[],
    tape?: GradientTape<never>,
  ): GradientPair[] | Promise<GradientPair[]> {
    const result = differentiate(loss, variables, tape as GradientTape | undefined);
    return result instanceof Promise ? result.then(({ pairs }) => pairs) : result.pairs;
  }

  /**
   * Computes gradients and applies them. Resolves to the loss before the step.
   * Source: Keras 2.9.0 `Optimizer.minimize`. @throws (rejects) as computeGradients and applyGradients
   * @example
   * import { Adagrad, Variable } from "@shardgrad/core";
   * const w = new Variable([3]);
   * const loss = () => ({ loss: w.data[0] ** 2, gradients: [[2 * w.data[0]]] });
   * console.log(await new Adagrad().minimize(loss, [w])); // 9
   */
  async minimize<Loss>(
    loss:
      | (() => LossWithGradients<Loss> | Promise<LossWithGradients<Loss>>)
      | (() => Loss | Promise<Loss>)
      | Loss,
    variables: readonly Variable[],
    tape?: GradientTape<Loss>,
  ): Promise<Loss> {
    const computed: ComputedGradients = await differentiate(
      loss,
      variables,
      tape as GradientTape | undefined,
    );
    await this.applyGradients(computed.pairs);
    return computed.loss as Loss;
  }

  /**
   * Gives every variable its average's value; call it at the end of training. Nothing without `useEma`.
   * Source: Keras 2.9.0 `Optimizer.finalize_variable_values`.
   * @throws StateError before the first step or while steps are pending, with lazy averages those of other optimizers too;
   *   StaleValuesError when values are on a device
   *   (`await runtime.synchronize()` first); ArgumentError for a list of another
   *   length than the averages; UnknownVariableError, DuplicateVariableError, DisposedVariableError
   */
  finalizeVariableValues(variables: readonly Variable[]): void {
    const state = this[optimizerState];
    if (!state.options.useEma) return;
    state.refuseWhilePending("finalizeVariableValues");
    if (!state.built) throw new StateError("There are no averages yet: finalize after the first step.");
    state.checkFinalizedLength(variables);
    checkVariables(variables, state.runtimeFor());
    state.checkKnown(variables);
    for (const variable of variables) variable[variableInternals].storage.refuseStale();
    const { lazies } = state;
    if (lazies.length > 0) state.refuseWhileQueueRuns("finalizeVariableValues");
    for (const lazy of lazies) catchUpSync(lazy);
    for (const variable of variables) copyValues(state.averageOf(variable)!, variable);
    if (this.wants("finalize"))
      this.emit("finalize", { iterations: state.iterations, variables: [...variables] });
  }

  /** Configuration under Keras' keys, plus `name`. A subclass adds its own. Source: Keras 2.9.0 `get_config`. */
  getConfig(): OptimizerConfig {
    const { clipnorm, globalClipnorm, clipvalue, useEma, emaMomentum, emaOverwriteFrequency, jitCompile } =
      this[optimizerState].options;
    const { schedule, rate, options } = this[optimizerState];
    return {
      clipnorm,
      global_clipnorm: globalClipnorm,
      clipvalue,
      use_ema: useEma,
      ema_momentum: emaMomentum,
      ema_overwrite_frequency: emaOverwriteFrequency,
      // As in Keras: false where there is no GPU, whatever was asked for.
      jit_compile:
        jitCompile && this[optimizerState].runtime?.[runtimeInternals].placed?.accelerator !== undefined,
      learning_rate: schedule === undefined ? rate : serializeSchedule(schedule),
      name: this.name,
      ...(options.sparseEma === "lazy" ? { shardgrad: { sparse_ema: "lazy" } } : {}),
    };
  }

  /**
   * An optimizer from what `getConfig` returned, here or in Keras (2.9.0, or later where its newer options are
   * off), with or without the `{ class_name, config }` around it. Source: Keras 2.9.0 `from_config`.
   * @throws OptionError
   */
  static fromConfig(config: OptimizerConfig, { runtime, customObjects }: FromConfigOptions = {}): Optimizer {
    // biome-ignore lint/complexity/noThisInStatic: the subclass that it was called on
    const Class = this as unknown as OptimizerClass;
    const options = optionsFromConfig(config, Class.name, Class.configKeys ?? {}, customObjects);
    return new Class(runtime === undefined ? options : { ...options, runtime });
  }

  /**
   * Gives the memory of all slots back, at the end of the step that uses it if there is one. The optimizer must not be
   * used afterwards.
   */
  dispose(): void {
    const state = this[optimizerState];
    state.disposed = true;
    state.known.clear();
    // Overwrites that rows have missed would be lost with the averages.
    catchUpAtLast(
      state.lazies,
      () => state.slots.dropFrom(0),
      (error) => this.report(error),
    );
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #call(pairs: Iterable<GradientPair>, options: ApplyOptions): StepCall {
    checkApplyOptions(options);
    const { skipGradientsAggregation = false } = options;
    const list = pairList(pairs);
    const runtime = this[optimizerState].runtimeFor([list[0]![1]]);
    return { list, skipGradientsAggregation, runtime, rate: this[optimizerState].rate };
  }

  /** Whether steps get other gradients than their calls. */
  get #aggregates(): boolean {
    return (
      this.#aggregator !== undefined || this.aggregateGradients !== Optimizer.prototype.aggregateGradients
    );
  }

  readonly #hooks: StepHooks = {
    events: this,
    aggregate: (pairs) => this.aggregateGradients(pairs),
    applied: () => this.#aggregator?.stepApplied?.(),
    build: (variables) => this.build(variables),
    built: (variables) => {
      if (this.wants("build")) this.emit("build", { variables: [...variables] });
    },
    kernelsOf: (variable) => this.kernelUpdate(variable),
    updateStep: (gradient, variable) => this.updateStep(gradient, variable),
  };
}

/** What `fromConfig` needs of a subclass. */
interface OptimizerClass {
  new (options: Record<string, unknown>): Optimizer;
  readonly name: string;
  /** The subclass' config keys and the options that they stand for. */
  readonly configKeys?: Readonly<Record<string, string>>;
}
