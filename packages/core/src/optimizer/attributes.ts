import type { DType } from "@shardgrad/workers";
import { ArgumentError, OptionError, StateError } from "../errors/index.js";
import { SafeEmitter } from "../events/emitter.js";
import { printedAs } from "../inspect.js";
import type { Initializer } from "../variable/initializers.js";
import { variableInternals } from "../variable/internals.js";
import type { Variable } from "../variable/variable.js";
import type { OptimizerEvents } from "./events.js";
import { checkOptimizerOptions, checkRate, type OptimizerOptions } from "./options.js";
import type { ReferenceOptions } from "./slots.js";
import { OptimizerState } from "./state.js";

/** Where an optimizer keeps what it knows; shared by the classes of this folder only. */
export const optimizerState: unique symbol = Symbol("shardgrad.optimizerState");

/** What can be read and set of an optimizer, and the variables that it keeps. */
export abstract class OptimizerAttributes extends SafeEmitter<OptimizerEvents> {
  static {
    printedAs(OptimizerAttributes.prototype, ({ name, iterations, learningRate, built }) => ({
      ...{ name, iterations, learningRate, built },
    }));
  }

  /** Prefix of the names of slots; null or "" stands for "optimizer". */
  readonly name: string | null;
  /** @internal */
  protected readonly [optimizerState]: OptimizerState;

  /**
   * @param ownOptions - names of further options that the subclass has checked itself
   * @throws OptionError for an unknown or bad option
   */
  constructor(options: OptimizerOptions = {}, ownOptions: readonly string[] = []) {
    super(["build", "iteration", "emaOverwrite", "finalize", "error"]);
    const checked = checkOptimizerOptions(options, ownOptions);
    this.name = options.name === undefined ? new.target.name : options.name;
    this[optimizerState] = new OptimizerState(checked, this.name || "optimizer", options);
  }

  /**
   * Steps completed. Can be set to any integer before the optimizer is built (to resume a schedule).
   * @throws StateError when set later, ArgumentError unless it is an integer of 0 or more
   */
  get iterations(): number {
    return this[optimizerState].iterations;
  }

  set iterations(value: number) {
    if (this[optimizerState].built) {
      throw new StateError(
        "Cannot set `iterations` to a new Variable after the Optimizer weights have been created. Here it is " +
          `attempting to set \`iterations\` to ${value}.Usually this means you are trying to set \`iterations\` after ` +
          "calling `apply_gradients()`. Please set `iterations` before calling `apply_gradients()`.",
      );
    }
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new ArgumentError({ argument: "iterations", received: value, expected: "an integer, 0 or more" });
    }
    this[optimizerState].iterations = value;
  }

  /**
   * The rate, a float32 number. With a schedule: the rate of the last step (of step 0 before any), not settable.
   * A step uses the rate that was set when it was called.
   * @throws OptionError when set with a schedule, or to anything but a finite number
   */
  get learningRate(): number {
    return this[optimizerState].rate;
  }

  set learningRate(value: number) {
    if (this[optimizerState].schedule !== undefined) {
      const message =
        "This optimizer was created with a `LearningRateSchedule` object as its `learning_rate` constructor " +
        "argument, hence its learning rate is not settable. If you need the learning rate to be settable, you " +
        "should instantiate the optimizer with a float `learning_rate` argument.";
      throw new OptionError({
        argument: "learningRate",
        received: value,
        expected: "no assignment",
        message,
      });
    }
    this[optimizerState].rate = checkRate(value);
  }

  /** Alias of `learningRate`. */
  get lr(): number {
    return this.learningRate;
  }

  set lr(value: number) {
    this.learningRate = value;
  }

  /** Whether `build` has made the slots. */
  get built(): boolean {
    return this[optimizerState].built;
  }

  /** All optimizer variables (slots) in the order in which they were made, then the averages. */
  get variables(): readonly Variable[] {
    const { slots, averages } = this[optimizerState];
    return [...slots.all.filter((slot) => !averages.includes(slot)), ...averages];
  }

  /** The moving average of each variable, in build order; empty without `useEma`. */
  get averages(): readonly Variable[] {
    return [...this[optimizerState].averages];
  }

  /**
   * A new optimizer variable that is not trainable; a scalar without a shape.
   * Source: Keras 2.9.0 `Optimizer.add_variable`.
   * @throws as the Variable constructor
   * @example
   * import { Adagrad } from "@shardgrad/core";
   * const steps = new Adagrad().addVariable([], { dtype: "float64", name: "steps" });
   * console.log(steps.name, steps.toArray(), steps.trainable); // steps 0 false
   */
  addVariable(
    shape?: readonly number[] | null,
    { initializer = "zeros", ...options }: { dtype?: DType; initializer?: Initializer; name?: string } = {},
  ): Variable {
    return this[optimizerState].slots.add(initializer, {
      ...options,
      shape: shape ?? [],
      runtime: this[optimizerState].runtimeFor(),
    });
  }

  /**
   * A slot named `{variableName}/{modelVariable.name}`, of the model variable's dtype and, unless given, its
   * shape; zeros unless an `initialValue` is given. A step puts the optimizer's name in front.
   * Source: Keras 2.9.0 `Optimizer.add_variable_from_reference`.
   * @throws as the Variable constructor
   * @example
   * import { Adagrad, Variable } from "@shardgrad/core";
   * const weights = Variable.ones([2], { name: "w" });
   * const slot = new Adagrad().addVariableFromReference(weights, "momentum", { initialValue: "ones" });
   * console.log(slot.name, slot.toArray()); // momentum/w [ 1, 1 ]
   */
  addVariableFromReference(
    modelVariable: Variable,
    variableName: string,
    options: ReferenceOptions = {},
  ): Variable {
    const runtime = modelVariable?.[variableInternals]?.runtime ?? this[optimizerState].runtimeFor();
    return this[optimizerState].slots.addBeside(modelVariable, variableName, options, runtime);
  }

  /**
   * One slot for each variable; if one of them cannot be made, the whole build is taken back. In a step, large slots
   * get their values after `build` has returned and before anything reads them, so that the event loop is not held up.
   */
  protected makeSlots(
    variables: readonly Variable[],
    slotName: string,
    initialValue: (variable: Variable) => Initializer,
    shapeOf: (variable: Variable) => readonly number[] = ({ shape }) => shape,
  ): Variable[] {
    const state = this[optimizerState];
    // Averages are made first: with slots of a subclass they belong to the same build.
    const made = state.slots.all.length - state.averages.length;
    try {
      state.slots.mayFillLater = true;
      return variables.map((variable) =>
        this.addVariableFromReference(variable, slotName, {
          initialValue: initialValue(variable),
          shape: shapeOf(variable),
        }),
      );
    } catch (error) {
      state.undoBuild(made);
      throw error;
    } finally {
      state.slots.mayFillLater = false;
    }
  }
}
