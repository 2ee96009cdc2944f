import { OptionError } from "../errors/index.js";
import { cosPi32, f32 } from "./float32.js";
import { LearningRateSchedule, type ScheduleConfig } from "./learning-rate-schedule.js";
import {
  checkOptions,
  checkStep,
  finiteNumber,
  optionalName,
  optionsFromConfig,
  positiveNumber,
} from "./options.js";

/** What {@link CosineDecay} is made of. */
export interface CosineDecayOptions {
  /** The rate of step 0. */
  initialLearningRate: number;
  /** The number of steps to decay over. Above 0. */
  decaySteps: number;
  /** The rate reached at the end, as a fraction of `initialLearningRate`. Default 0. */
  alpha?: number | undefined;
  /** A name, only kept in the config. Default null. */
  name?: string | null | undefined;
}

const NAMES = {
  initial_learning_rate: "initialLearningRate",
  decay_steps: "decaySteps",
  alpha: "alpha",
  name: "name",
} as const;

/** Later Keras versions write these; without a target there is no warm-up, whatever the steps. */
const WARMUP = { warmup_target: "warmupTarget", warmup_steps: "warmupSteps" } as const;

/**
 * A rate that falls along half a cosine: `initialLearningRate · ((1 - alpha) · c + alpha)` with
 * `c = (1 + cos(π · min(step, decaySteps) / decaySteps)) / 2`. Steps are counted from 0; the arithmetic is float32.
 *
 * Source: Keras 2.9.0 `CosineDecay.__call__`; Loshchilov and Hutter, "SGDR" (ICLR 2017).
 *
 * @throws {OptionError} for a number that is not finite, a `decaySteps` not above 0, an unknown option.
 * @example
 * ```ts
 * import { CosineDecay } from "@shardgrad/core";
 *
 * const schedule = new CosineDecay({ initialLearningRate: 1, decaySteps: 10, alpha: 0.5 });
 * console.log(schedule.call(0), schedule.call(5), schedule.call(10)); // 1 0.75 0.5
 * ```
 */
export class CosineDecay extends LearningRateSchedule {
  readonly initialLearningRate: number;
  readonly decaySteps: number;
  readonly alpha: number;
  readonly name: string | null;

  constructor(options: CosineDecayOptions) {
    super();
    checkOptions("CosineDecay", options, NAMES);
    const { alpha = 0 } = options;
    this.initialLearningRate = finiteNumber("initialLearningRate", options.initialLearningRate);
    this.decaySteps = positiveNumber("decaySteps", options.decaySteps);
    this.alpha = finiteNumber("alpha", alpha);
    this.name = optionalName(options.name);
  }

  /**
   * The rate of one step, a float32.
   *
   * @throws {ArgumentError} for a step that is not a finite number.
   */
  override call(step: number): number {
    const decaySteps = f32(this.decaySteps);
    const fraction = f32(Math.min(f32(checkStep(step)), decaySteps) / decaySteps);
    const cosine = f32(0.5 * f32(1 + cosPi32(fraction)));
    // Keras subtracts alpha from 1 before it becomes a float32.
    const decayed = f32(f32(f32(1 - this.alpha) * cosine) + f32(this.alpha));
    return f32(f32(this.initialLearningRate) * decayed);
  }

  /** The options in Keras' spelling, the numbers as they were given. */
  override getConfig(): ScheduleConfig {
    return {
      initial_learning_rate: this.initialLearningRate,
      decay_steps: this.decaySteps,
      alpha: this.alpha,
      name: this.name,
    };
  }

  /**
   * The schedule that a config in Keras' spelling describes. The warm-up keys of later Keras versions are accepted
   * when they are off (`warmup_target` null).
   *
   * @throws {OptionError} for an unknown key, a warm-up, and for whatever the constructor refuses.
   */
  static override fromConfig(config: ScheduleConfig): CosineDecay {
    const mapped = optionsFromConfig("CosineDecay", config, { ...NAMES, ...WARMUP });
    const { warmupTarget = null, warmupSteps: _, ...options } = mapped;
    if (warmupTarget !== null) {
      throw new OptionError({
        argument: "warmup_target",
        received: warmupTarget,
        expected: "null (Keras 2.9.0 has no warm-up)",
      });
    }
    return new this(options as unknown as CosineDecayOptions);
  }
}
