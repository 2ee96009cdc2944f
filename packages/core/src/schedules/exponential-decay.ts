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

/** What {@link ExponentialDecay} is made of. */
export interface ExponentialDecayOptions {
  /** The rate of step 0. */
  initialLearningRate: number;
  /** The number of steps in which the rate is multiplied by `decayRate` once. At least 0. */
  decaySteps: number;
  /** The factor of one period of `decaySteps` steps. */
  decayRate: number;
  /** Whether the rate changes only at whole periods. Default false. */
  staircase?: boolean | undefined;
  /** A name, only kept in the config. Default null. */
  name?: string | null | undefined;
}

const NAMES = {
  initial_learning_rate: "initialLearningRate",
  decay_steps: "decaySteps",
  decay_rate: "decayRate",
  staircase: "staircase",
  name: "name",
} as const;

/**
 * A rate that decays exponentially: `initialLearningRate · decayRate ^ (step / decaySteps)`, where `staircase`
 * rounds the exponent down. Steps are counted from 0; the arithmetic is float32.
 *
 * `decaySteps` 0 is accepted as in Keras: the exponent is then infinite, and NaN at step 0.
 *
 * Source: Keras 2.9.0 `ExponentialDecay.__call__`.
 *
 * @throws {OptionError} for a number that is not finite, a negative `decaySteps`, an unknown option.
 * @example
 * ```ts
 * import { ExponentialDecay } from "@shardgrad/core";
 *
 * const schedule = new ExponentialDecay({ initialLearningRate: 0.5, decaySteps: 10, decayRate: 0.5 });
 * console.log(schedule.call(0), schedule.call(10), schedule.call(20)); // 0.5 0.25 0.125
 * ```
 */
export class ExponentialDecay extends LearningRateSchedule {
  readonly initialLearningRate: number;
  readonly decaySteps: number;
  readonly decayRate: number;
  readonly staircase: boolean;
  readonly name: string | null;

  constructor(options: ExponentialDecayOptions) {
    super();
    checkOptions("ExponentialDecay", options, NAMES);
    this.initialLearningRate = finiteNumber("initialLearningRate", options.initialLearningRate);
    this.decaySteps = nonNegativeNumber("decaySteps", options.decaySteps);
    this.decayRate = finiteNumber("decayRate", options.decayRate);
    this.staircase = flag("staircase", options.staircase ?? false);
    this.name = optionalName(options.name);
  }

  /**
   * The rate of one step, a float32.
   *
   * @throws {ArgumentError} for a step that is not a finite number.
   */
  override call(step: number): number {
    const periods = f32(f32(checkStep(step)) / f32(this.decaySteps));
    const exponent = this.staircase ? Math.floor(periods) : periods;
    return f32(f32(this.initialLearningRate) * pow32(f32(this.decayRate), exponent));
  }

  /** The options in Keras' spelling, the numbers as they were given. */
  override getConfig(): ScheduleConfig {
    return {
      initial_learning_rate: this.initialLearningRate,
      decay_steps: this.decaySteps,
      decay_rate: this.decayRate,
      staircase: this.staircase,
      name: this.name,
    };
  }

  /**
   * The schedule that a config in Keras' spelling describes.
   *
   * @throws {OptionError} for an unknown key, and for whatever the constructor refuses.
   */
  static override fromConfig(config: ScheduleConfig): ExponentialDecay {
    const options = optionsFromConfig("ExponentialDecay", config, NAMES);
    return new this(options as unknown as ExponentialDecayOptions);
  }
}
