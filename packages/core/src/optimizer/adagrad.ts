import { OptionError, SplitVariableError } from "../errors/index.js";
import { checkGradient, type Gradient } from "../gradients/gradient.js";
import { checkVariables } from "../gradients/pairs.js";
import { filled } from "../variable/initializers.js";
import { variableInternals } from "../variable/internals.js";
import type { Variable } from "../variable/variable.js";
import { optimizerState } from "./attributes.js";
import type { OptimizerConfig } from "./config.js";
import { driveSync } from "./drive.js";
import { type FromConfigOptions, Optimizer } from "./optimizer.js";
import { checkNumber, type OptimizerOptions } from "./options.js";
import { internalsOf } from "./slots.js";
import { type KernelUpdate, performStep, type StepGradient } from "./step.js";

/** How slices of the same row are combined: see {@link AdagradOptions.duplicateIndices}. */
export type DuplicateIndices = "perSlice" | "perRow";

/** What an accumulator has an element for: see {@link AdagradOptions.accumulator}. */
export type AccumulatorKind = "elementwise" | "rowwise";

/** The options of {@link Adagrad}: those of every optimizer, and its own. Defaults and names are those of Keras 2.9.0. */
export interface AdagradOptions extends OptimizerOptions {
  /** Start of every accumulator element, 0 or more. Default 0.1. */
  readonly initialAccumulatorValue?: number | undefined;
  /** Added to the accumulator inside the square root, 0 or more. Default 1e-7. */
  readonly epsilon?: number | undefined;
  /**
   * `perSlice` (Keras 2.9.0, default) squares each slice by itself; `perRow` sums the slices of a row first, as
   * Keras 2.11, TensorFlow and PyTorch do.
   */
  readonly duplicateIndices?: DuplicateIndices | undefined;
  /**
   * `elementwise` (Keras, default) keeps g² of each element; `rowwise` keeps one number a row, to which the mean of the
   * row's g² is added: a table of [rows, dim] takes dim + 1 floats a row instead of 2 · dim. After FBGEMM's row-wise
   * Adagrad; see docs/large-tables.md for the formula.
   */
  readonly accumulator?: AccumulatorKind | undefined;
}

/**
 * Adagrad, after Keras 2.9.0's `tf.keras.optimizers.experimental.Adagrad` (Duchi, Hazan and Singer 2011):
 * accumulator += g², variable -= learningRate · g / √(accumulator + epsilon), each operation rounded to the
 * variable's dtype. Rows that indexed slices do not name never change.
 *
 * @example
 * import { Adagrad, Variable } from "@shardgrad/core";
 * const weights = Variable.zeros([3]);
 * const optimizer = new Adagrad({ learningRate: 0.1, globalClipnorm: 1 });
 * await optimizer.applyGradients([[new Float32Array([1, -2, 3]), weights]]);
 * console.log(optimizer.iterations, Array.from(weights.data, Math.sign)); // 1 [ -1, 1, -1 ]
 */
export class Adagrad extends Optimizer {
  /** Config keys of this class and the options that they stand for. */
  static readonly configKeys: Readonly<Record<string, string>> = {
    initial_accumulator_value: "initialAccumulatorValue",
    epsilon: "epsilon",
    "shardgrad.duplicate_indices": "duplicateIndices",
    "shardgrad.accumulator": "accumulator",
  };

  readonly #initialAccumulatorValue: number;
  readonly #epsilon: number;
  readonly #duplicateIndices: DuplicateIndices;
  readonly #accumulator: AccumulatorKind;
  readonly #accumulators = new Map<Variable, Variable>();

  /** @throws OptionError for an unknown or bad option */
  constructor(options: AdagradOptions = {}) {
    super(options, ["initialAccumulatorValue", "epsilon", "duplicateIndices", "accumulator"]);
    const { initialAccumulatorValue = 0.1, epsilon = 1e-7, duplicateIndices = "perSlice" } = options;
    const { accumulator = "elementwise" } = options;
    this.#accumulator = accumulator;
    this.#initialAccumulatorValue = initialAccumulatorValue;
    this.#epsilon = epsilon;
    this.#duplicateIndices = duplicateIndices;
    checkNumber("initialAccumulatorValue", this.#initialAccumulatorValue, 0);
    checkNumber("epsilon", this.#epsilon, 0);
    if (this.#duplicateIndices !== "perSlice" && this.#duplicateIndices !== "perRow") {
      const received = this.#duplicateIndices;
      throw new OptionError({ argument: "duplicateIndices", received, expected: '"perSlice" or "perRow"' });
    }
    if (accumulator !== "elementwise" && accumulator !== "rowwise") {
      const expected = '"elementwise" or "rowwise"';
      throw new OptionError({ argument: "accumulator", received: accumulator, expected });
    }
  }

  /**
   * The accumulator of each variable, in build order; of the variable's dtype and shape, or of shape [rows] when they
   * are row-wise. Empty before `build`.
   *
   * @example
   * import { Adagrad, Variable } from "@shardgrad/core";
   * const optimizer = new Adagrad({ initialAccumulatorValue: 0 });
   * optimizer.applyGradientsSync([[[3, 4], new Variable([0, 0], { name: "w" })]]);
   * console.log(optimizer.accumulators[0].name, optimizer.accumulators[0].toArray()); // Adagrad/accumulator/w [ 9, 16 ]
   */
  get accumulators(): readonly Variable[] {
    return this.built ? [...this.#accumulators.values()] : [];
  }

  /**
   * Makes the accumulators, and the averages with `useEma`. The first step calls it; call it yourself to do the work
   * at start-up. Only the first call counts. Source: Keras 2.9.0 `Adagrad.build`.
   * @throws DisposedVariableError, DuplicateVariableError, ArgumentError, MemoryExhaustedError; SplitVariableError for
   *   row-wise accumulators of a variable whose rows are larger than a memory
   */
  override build(variables: readonly Variable[]): void {
    if (this.built) return;
    this.#accumulators.clear();
    const rowwise = this.#accumulator === "rowwise";
    if (rowwise) for (const variable of variables) checkWholeRows(variable);
    super.build(variables);
    const made = this.makeSlots(
      variables,
      "accumulator",
      () => filled(this.#initialAccumulatorValue),
      ({ shape }) => (rowwise ? shape.slice(0, 1) : shape),
    );
    variables.forEach((variable, i) => {
      this.#accumulators.set(variable, made[i]!);
    });
  }

  /**
   * The bare update of one variable: no clipping, averages or counting. Runs on the calling thread, or where the
   * variable lives.
   * Source: Keras 2.9.0 `Adagrad.update_step`.
   * @throws as applyGradients, and StateError while the optimizer's first asynchronous step is filling its slots
   * @example
   * import { Adagrad, Variable } from "@shardgrad/core";
   * const weights = Variable.ones([2]);
   * const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0 });
   * optimizer.updateStep([0.5, -2], weights);
   * console.log(weights.toArray(), optimizer.iterations); // [ 0, 2 ] 0
   */
  updateStep(gradient: StepGradient | Gradient, variable: Variable): void {
    const { runtime } = variable[variableInternals];
    this[optimizerState].refuseWhileFilling("updateStep");
    checkVariables([variable], runtime);
    const pairs = [{ variable, gradient: checkGradient(gradient as Gradient, variable) }];
    this.build([variable]);
    this.checkKnown([variable]);
    const prepared = {
      pairs,
      learningRate: this.learningRate,
      clip: { kind: "none" },
      average: null,
      accelerated: true,
      slots: this.accumulators,
      averageOf: () => undefined,
      makeLazy: () => {},
      kernelsOf: (known: Variable) => this.#kernels(known),
      updateStep: () => {},
    } as const;
    driveSync(performStep(prepared, internalsOf(runtime)), internalsOf(runtime));
  }

  protected override kernelUpdate(variable: Variable): KernelUpdate | null {
    // A subclass with an updateStep of its own expects it to be called.
    return this.updateStep === Adagrad.prototype.updateStep ? this.#kernels(variable) : null;
  }

  #kernels(variable: Variable): KernelUpdate {
    return {
      operation: "adagrad",
      accumulator: this.#accumulators.get(variable)!,
      epsilon: this.#epsilon,
      perRow: this.#duplicateIndices === "perRow",
      rowwise: this.#accumulator === "rowwise",
    };
  }

  /**
   * Configuration under Keras' keys, in Keras' order, plus `name`; state is not part of it.
   * Source: Keras 2.9.0 `Adagrad.get_config`.
   *
   * @example
   * import { Adagrad } from "@shardgrad/core";
   * console.log(new Adagrad({ learningRate: 0.5 }).getConfig().learning_rate); // 0.5
   */
  override getConfig(): OptimizerConfig {
    const { name, shardgrad: inherited, ...config } = super.getConfig();
    // Keras has no keys for these; their defaults, which are Keras' own behaviour, are not written.
    const shardgrad = {
      ...(inherited as object | undefined),
      ...(this.#duplicateIndices === "perRow" ? { duplicate_indices: "perRow" } : {}),
      ...(this.#accumulator === "rowwise" ? { accumulator: "rowwise" } : {}),
    };
    return {
      ...config,
      initial_accumulator_value: this.#initialAccumulatorValue,
      epsilon: this.#epsilon,
      name,
      ...(Object.keys(shardgrad).length > 0 ? { shardgrad } : {}),
    };
  }

  /**
   * An optimizer from what `getConfig` returned, here or in Keras. The config is not changed.
   * Source: Keras 2.9.0 `Adagrad.from_config`.
   * @throws OptionError for a key or value that is unknown or bad
   * @example
   * import { Adagrad } from "@shardgrad/core";
   * const optimizer = Adagrad.fromConfig({ learning_rate: 0.5, epsilon: 1e-6 }); // the rest: defaults
   * console.log(optimizer.learningRate); // 0.5
   */
  static override fromConfig(config: OptimizerConfig, options: FromConfigOptions = {}): Adagrad {
    // biome-ignore lint/complexity/noThisInStatic: `super` keeps the subclass that it was called on
    return super.fromConfig(config, options) as Adagrad;
  }
}

function checkWholeRows(variable: Variable): void {
  const internals = variable?.[variableInternals]; // what is no variable is refused by the build
  if (internals === undefined || internals.storage.hasWholeRows(internals.rowSize)) return;
  throw new SplitVariableError(
    `A row of ${variable.name} is larger than a memory: its mean cannot be taken.`,
  );
}
