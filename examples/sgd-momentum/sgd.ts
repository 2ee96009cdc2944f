/**
 * An optimizer of one's own: stochastic gradient descent with momentum, as Keras 2.9's experimental `SGD`. The base
 * class brings clipping, averages, schedules, events, checks and configuration.
 */

import type { OptimizerConfig, OptimizerOptions, StepGradient, Variable } from "@shardgrad/core";
import { DtypeError, Optimizer, OptionError } from "@shardgrad/core";

export interface SgdOptions extends OptimizerOptions {
  /** How much of the last step goes into the next, from 0 (default: plain gradient descent) to 1. */
  readonly momentum?: number | undefined;
  /** Whether to look one step of momentum ahead. */
  readonly nesterov?: boolean | undefined;
}

/**
 * m = momentum * m - learningRate * g, then w += m, or with `nesterov` w += momentum * m - learningRate * g.
 * Without momentum w -= learningRate * g.
 */
export class SGD extends Optimizer {
  /** The keys that fromConfig reads beside those of every optimizer. */
  static readonly configKeys: Readonly<Record<string, string>> = {
    momentum: "momentum",
    nesterov: "nesterov",
  };

  readonly #momentum: number;
  readonly #nesterov: boolean;
  readonly #momentums = new Map<Variable, Variable>();

  constructor(options: SgdOptions = {}) {
    super(options, ["momentum", "nesterov"]);
    const { momentum = 0, nesterov = false } = options;
    if (!(momentum >= 0 && momentum <= 1)) {
      throw new OptionError({
        argument: "momentum",
        received: momentum,
        expected: "a number between 0 and 1",
      });
    }
    if (typeof nesterov !== "boolean") {
      throw new OptionError({ argument: "nesterov", received: nesterov, expected: "true or false" });
    }
    this.#momentum = momentum;
    this.#nesterov = nesterov;
  }

  /** One slot a variable, in build order; none without momentum. */
  get momentums(): readonly Variable[] {
    return [...this.#momentums.values()];
  }

  override build(variables: readonly Variable[]): void {
    if (this.built) return;
    for (const { dtype, name } of variables) {
      // Their data holds bit patterns, with which one cannot calculate.
      if (dtype === "float16") {
        throw new DtypeError({ argument: name, received: dtype, expected: "float32 or float64" });
      }
    }
    super.build(variables);
    if (this.#momentum === 0) return;
    for (const variable of variables) {
      this.#momentums.set(variable, this.addVariableFromReference(variable, "m"));
    }
  }

  override updateStep(gradient: StepGradient, variable: Variable): void {
    const weights = variable.data;
    const momentums = this.#momentums.get(variable)?.data;
    const round = weights instanceof Float32Array ? Math.fround : (value: number) => value;
    const factor = round(this.#momentum);
    if ("indices" in gradient) {
      this.#applySlices(gradient, weights, momentums, factor, round);
    } else if (momentums === undefined) {
      for (let i = 0; i < weights.length; i++) {
        weights[i] = weights[i]! - round(gradient[i]! * this.learningRate);
      }
    } else {
      this.#applyDense(gradient, weights, momentums, factor, round);
    }
  }

  override getConfig(): OptimizerConfig {
    return { ...super.getConfig(), momentum: this.#momentum, nesterov: this.#nesterov };
  }

  /** Each operation rounds to the dtype (float32 arrays round what is stored), so the bits are Keras'. */
  #applyDense(gradient: Numbers, weights: Numbers, momentums: Numbers, factor: number, round: Round): void {
    const rate = this.learningRate;
    const nesterov = this.#nesterov;
    for (let i = 0; i < weights.length; i++) {
      const move = -round(gradient[i]! * rate);
      const next = round(move + round(momentums[i]! * factor));
      momentums[i] = next;
      weights[i] = weights[i]! + (nesterov ? round(move + round(next * factor)) : next);
    }
  }

  /**
   * Slices add up in rows that occur twice. Momentum goes on moving every row, named or not: as in Keras the step
   * costs the table, which is why Adagrad suits embeddings better.
   */
  #applySlices(
    { indices, values, rowSize }: Slices,
    weights: Numbers,
    momentums: Numbers | undefined,
    factor: number,
    round: Round,
  ): void {
    const rate = this.learningRate;
    const scatter = (target: Numbers): void => {
      indices.forEach((row, slice) => {
        for (let k = 0; k < rowSize; k++) {
          target[row * rowSize + k]! -= round(values[slice * rowSize + k]! * rate);
        }
      });
    };
    if (momentums === undefined) {
      scatter(weights);
      return;
    }
    for (let i = 0; i < momentums.length; i++) momentums[i] = momentums[i]! * factor;
    scatter(momentums);
    if (this.#nesterov) scatter(weights);
    for (let i = 0; i < weights.length; i++) {
      weights[i] = weights[i]! + (this.#nesterov ? round(momentums[i]! * factor) : momentums[i]!);
    }
  }
}

type Slices = Extract<StepGradient, { readonly indices: Uint32Array }>;
type Numbers = Variable["data"];
type Round = (value: number) => number;
