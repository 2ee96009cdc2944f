import { f32, pow32 } from "./float32.js";
import { LearningRateSchedule, type ScheduleConfig } from "./learning-rate-schedule.js";
import {
  checkOptions,
  checkStep,
  finiteNumber,
  flag,
  nonNegativeNumber,
  optionalName,
  optionsFromConfig,
} from "./options.js";

/** What {@link PolynomialDecay} is made of. */
export interface PolynomialDecayOptions {
  /** The rate of step 0. */
  initialLearningRate: number;
  /** The number of steps it takes to reach `endLearningRate`. At least 0. */
  decaySteps: number;
  /** The rate reached after `decaySteps` steps. Default 0.0001. */
  endLearningRate?: number | undefined;
  /** The power of the polynomial. Default 1, a straight line. */
  power?: number | undefined;
  /** Whether, past `decaySteps`, the period grows to its next multiple instead of the rate staying. Default false. */
  cycle?: boolean | undefined;
  /** A name, only kept in the config. Default null. */
  name?: string | null | undefined;
}

const NAMES = {
  initial_learning_rate: "initialLearningRate",
  decay_steps: "decaySteps",
  end_learning_rate: "endLearningRate",
  power: "power",
  cycle: "cycle",
  name: "name",
} as const;

/**
 * A rate that goes from one value to another along a polynomial:
 * `(initialLearningRate - endLearningRate) · (1 - t / n) ^ power + endLearningRate`. Without `cycle`, `n` is
 * `decaySteps` and `t` is `min(step, n)`; with `cycle`, `t` is the step and `n` the first multiple of `decaySteps`
 * that is not below it (one period at step 0). Steps are counted from 0; the arithmetic is float32.
 *
 * `decaySteps` 0 is accepted as in Keras: the rate is then NaN.
 *
 * Source: Keras 2.9.0 `PolynomialDecay.__call__`.
 *
 * @throws {OptionError} for a number that is not finite, a negative `decaySteps`, an unknown option.
 * @example
 * ```ts
 * import { PolynomialDecay } from "@shardgrad/core";
 *
 * const schedule = new PolynomialDecay({ initialLearningRate: 1, decaySteps: 4, endLearningRate: 0.5 });
 * console.log(schedule.call(0), schedule.call(2), schedule.call(9)); // 1 0.75 0.5
 * ```
 */
export class PolynomialDecay extends LearningRateSchedule {
  readonly initialLearningRate: number;
  readonly decaySteps: number;
  readonly endLearningRate: number;
  readonly power: number;
  readonly cycle: boolean;
  readonly name: string | null;

  constructor(options: PolynomialDecayOptions) {
    super();
    checkOptions("PolynomialDecay", options, NAMES);
    const { endLearningRate = 1e-4, power = 1, cycle = false } = options;
    this.initialLearningRate = finiteNumber("initialLearningRate", options.initialLearningRate);
    this.decaySteps = nonNegativeNumber("decaySteps", options.decaySteps);
    this.endLearningRate = finiteNumber("endLearningRate", endLearningRate);
    this.power = finiteNumber("power", power);
    this.cycle = flag("cycle", cycle);
    this.name = optionalName(options.name);
  }

  /**
   * The rate of one step, a float32.
   *
   * @throws {ArgumentError} for a step that is not a finite number.
   */
  override call(step: number): number {
    const initial = f32(this.initialLearningRate);
    const end = f32(this.endLearningRate);
    let t = f32(checkStep(step));
    let n = f32(this.decaySteps);
    if (this.cycle) {
      n = f32(n * (t === 0 ? 1 : Math.ceil(f32(t / n))));
    } else {
      t = Math.min(t, n);
    }
    const left = f32(1 - f32(t / n));
    return f32(f32(f32(initial - end) * pow32(left, f32(this.power))) + end);
  }

  /** The options in Keras' spelling, the numbers as they were given. */
  override getConfig(): ScheduleConfig {
    return {
      initial_learning_rate: this.initialLearningRate,
      decay_steps: this.decaySteps,
      end_learning_rate: this.endLearningRate,
      power: this.power,
      cycle: this.cycle,
      name: this.name,
    };
  }

  /**
   * The schedule that a config in Keras' spelling describes.
   *
   * @throws {OptionError} for an unknown key, and for whatever the constructor refuses.
   */
  static override fromConfig(config: ScheduleConfig): PolynomialDecay {
    const options = optionsFromConfig("PolynomialDecay", config, NAMES);
    return new this(options as unknown as PolynomialDecayOptions);
  }
}
