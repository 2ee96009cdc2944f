import { cosPi32, f32, log32, pow32 } from "./float32.js";
import { LearningRateSchedule, type ScheduleConfig } from "./learning-rate-schedule.js";
import {
  checkOptions,
  checkStep,
  finiteNumber,
  optionalName,
  optionsFromConfig,
  positiveNumber,
} from "./options.js";

/** What {@link CosineDecayRestarts} is made of. */
export interface CosineDecayRestartsOptions {
  /** The rate of step 0. */
  initialLearningRate: number;
  /** The number of steps of the first period. Above 0. */
  firstDecaySteps: number;
  /** How many times longer each period is than the one before. Above 0; default 2. */
  tMul?: number | undefined;
  /** What the rate at the start of a period is multiplied by from one period to the next. Default 1. */
  mMul?: number | undefined;
  /** The rate at the end of a period, as a fraction of `initialLearningRate`. Default 0. */
  alpha?: number | undefined;
  /** A name, only kept in the config. Default null. */
  name?: string | null | undefined;
}

const NAMES = {
  initial_learning_rate: "initialLearningRate",
  first_decay_steps: "firstDecaySteps",
  t_mul: "tMul",
  m_mul: "mMul",
  alpha: "alpha",
  name: "name",
} as const;

/** The period a point in time falls in, and how far into it; time is in units of the first period. */
function locate(time: number, tMul: number): [period: number, fraction: number] {
  if (tMul === 1) {
    const period = Math.floor(time);
    return [period, f32(time - period)];
  }
  const ratio = f32(1 - tMul);
  const period = Math.floor(f32(log32(f32(1 - f32(time * ratio))) / log32(tMul)));
  const length = pow32(tMul, period);
  const start = f32(f32(1 - length) / ratio);
  return [period, f32(f32(time - start) / length)];
}

/**
 * A rate that falls along half a cosine again and again:
 * `initialLearningRate · ((1 - alpha) · c + alpha)` with `c = mMul ^ i · (1 + cos(π · f)) / 2`, `i` the number of
 * restarts before the step and `f` the part of the current period that has passed; period `i` lasts
 * `firstDecaySteps · tMul ^ i` steps. Steps are counted from 0; the arithmetic is float32, so that far out a
 * restart may come a step early or late.
 *
 * With `tMul` below 1 the periods end at step `firstDecaySteps / (1 - tMul)`; from there the rate is NaN, as in Keras.
 *
 * Source: Keras 2.9.0 `CosineDecayRestarts.__call__`; Loshchilov and Hutter, "SGDR" (ICLR 2017).
 *
 * @throws {OptionError} for a number that is not finite, a `firstDecaySteps` or `tMul` not above 0, an unknown option.
 * @example
 * ```ts
 * import { CosineDecayRestarts } from "@shardgrad/core";
 *
 * const schedule = new CosineDecayRestarts({ initialLearningRate: 1, firstDecaySteps: 10, mMul: 0.5 });
 * console.log(schedule.call(0), schedule.call(10), schedule.call(30)); // 1 0.5 0.25
 * ```
 */
export class CosineDecayRestarts extends LearningRateSchedule {
  readonly initialLearningRate: number;
  readonly firstDecaySteps: number;
  readonly tMul: number;
  readonly mMul: number;
  readonly alpha: number;
  readonly name: string | null;

  constructor(options: CosineDecayRestartsOptions) {
    super();
    checkOptions("CosineDecayRestarts", options, NAMES);
    const { tMul = 2, mMul = 1, alpha = 0 } = options;
    this.initialLearningRate = finiteNumber("initialLearningRate", options.initialLearningRate);
    this.firstDecaySteps = positiveNumber("firstDecaySteps", options.firstDecaySteps);
    this.tMul = positiveNumber("tMul", tMul);
    this.mMul = finiteNumber("mMul", mMul);
    this.alpha = finiteNumber("alpha", alpha);
    this.name = optionalName(options.name);
  }

  /**
   * The rate of one step, a float32.
   *
   * @throws {ArgumentError} for a step that is not a finite number.
   */
  override call(step: number): number {
    const time = f32(f32(checkStep(step)) / f32(this.firstDecaySteps));
    const [period, fraction] = locate(time, f32(this.tMul));
    const half = f32(0.5 * pow32(f32(this.mMul), period));
    const cosine = f32(half * f32(1 + cosPi32(fraction)));
    const alpha = f32(this.alpha);
    const decayed = f32(f32(f32(1 - alpha) * cosine) + alpha);
    return f32(f32(this.initialLearningRate) * decayed);
  }

  /** The options in Keras' spelling, the numbers as they were given. */
  override getConfig(): ScheduleConfig {
    return {
      initial_learning_rate: this.initialLearningRate,
      first_decay_steps: this.firstDecaySteps,
      t_mul: this.tMul,
      m_mul: this.mMul,
      alpha: this.alpha,
      name: this.name,
    };
  }

  /**
   * The schedule that a config in Keras' spelling describes.
   *
   * @throws {OptionError} for an unknown key, and for whatever the constructor refuses.
   */
  static override fromConfig(config: ScheduleConfig): CosineDecayRestarts {
    const options = optionsFromConfig("CosineDecayRestarts", config, NAMES);
    return new this(options as unknown as CosineDecayRestartsOptions);
  }
}
