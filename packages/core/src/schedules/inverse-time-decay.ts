import { f32 } from "./float32.js";
import { LearningRateSchedule, type ScheduleConfig } from "./learning-rate-schedule.js";
import {
  checkOptions,
  checkStep,
  finiteNumber,
  flag,
  optionalName,
  optionsFromConfig,
  positiveNumber,
} from "./options.js";

/** What {@link InverseTimeDecay} is made of. */
export interface InverseTimeDecayOptions {
  /** The rate of step 0. */
  initialLearningRate: number;
  /** The number of steps of one period. Above 0. */
  decaySteps: number;
  /** What one period adds to the divisor. */
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
 * A rate that falls with the inverse of time: `initialLearningRate / (1 + decayRate · step / decaySteps)`, where
 * `staircase` rounds `step / decaySteps` down. Steps are counted from 0; the arithmetic is float32.
 *
 * Source: Keras 2.9.0 `InverseTimeDecay.__call__`.
 *
 * @throws {OptionError} for a number that is not finite, a `decaySteps` not above 0, an unknown option.
 * @example
 * ```ts
 * import { InverseTimeDecay } from "@shardgrad/core";
 *
 * const schedule = new InverseTimeDecay({ initialLearningRate: 0.5, decaySteps: 10, decayRate: 1 });
 * console.log(schedule.call(0), schedule.call(10), schedule.call(30)); // 0.5 0.25 0.125
 * ```
 */
export class InverseTimeDecay extends LearningRateSchedule {
  readonly initialLearningRate: number;
  readonly decaySteps: number;
  readonly decayRate: number;
  readonly staircase: boolean;
  readonly name: string | null;

  constructor(options: InverseTimeDecayOptions) {
    super();
    checkOptions("InverseTimeDecay", options, NAMES);
    this.initialLearningRate = finiteNumber("initialLearningRate", options.initialLearningRate);
    this.decaySteps = positiveNumber("decaySteps", options.decaySteps);
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
    const elapsed = f32(f32(checkStep(step)) / f32(this.decaySteps));
    const periods = this.staircase ? Math.floor(elapsed) : elapsed;
    const divisor = f32(1 + f32(f32(this.decayRate) * periods));
    return f32(f32(this.initialLearningRate) / divisor);
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
  static override fromConfig(config: ScheduleConfig): InverseTimeDecay {
    const options = optionsFromConfig("InverseTimeDecay", config, NAMES);
    return new this(options as unknown as InverseTimeDecayOptions);
  }
}
