import { formatPythonFloat, OptionError } from "../errors/index.js";
import { f32 } from "./float32.js";
import { LearningRateSchedule, type ScheduleConfig } from "./learning-rate-schedule.js";
import { checkOptions, checkStep, numberList, optionalName, optionsFromConfig } from "./options.js";

/** What {@link PiecewiseConstantDecay} is made of. */
export interface PiecewiseConstantDecayOptions {
  /** The last step of each value but the last one, in increasing order; at least one. */
  boundaries: readonly number[];
  /** The rates, one more than there are boundaries. */
  values: readonly number[];
  /** A name, only kept in the config. Default null. */
  name?: string | null | undefined;
}

const NAMES = { boundaries: "boundaries", values: "values", name: "name" } as const;

function checkLengths(boundaries: readonly number[], values: readonly number[]): void {
  if (boundaries.length !== values.length - 1) {
    const steps = boundaries.map((b) => (Number.isInteger(b) ? String(b) : formatPythonFloat(b))).join(", ");
    const rates = values.map(formatPythonFloat).join(", ");
    throw new OptionError({
      argument: "boundaries",
      received: boundaries,
      expected: `an array of length ${Math.max(values.length - 1, 1)}`,
      message:
        "The length of boundaries should be 1 less than the length of values. " +
        `Received: boundaries=[${steps}] of length ${boundaries.length}, ` +
        `and values=[${rates}] of length ${values.length}.`,
    });
  }
  if (boundaries.length === 0) {
    throw new OptionError({
      argument: "boundaries",
      received: boundaries,
      expected: "at least one boundary",
    });
  }
}

/**
 * A rate that is constant between boundaries: `values[0]` up to and including step `boundaries[0]`, then `values[1]`
 * up to and including `boundaries[1]`, and so on; the last value from there on. Steps are counted from 0, and a
 * rate is given rounded to float32. As in Keras, boundaries lose their fraction when the step is an integer.
 *
 * Source: Keras 2.9.0 `PiecewiseConstantDecay.__call__`.
 *
 * @throws {OptionError} for lengths that do not fit, no boundary, boundaries that decrease, a number that is not
 * finite, an unknown option.
 * @example
 * ```ts
 * import { PiecewiseConstantDecay } from "@shardgrad/core";
 *
 * const schedule = new PiecewiseConstantDecay({ boundaries: [100, 200], values: [1, 0.5, 0.25] });
 * console.log(schedule.call(100), schedule.call(101), schedule.call(201)); // 1 0.5 0.25
 * ```
 */
export class PiecewiseConstantDecay extends LearningRateSchedule {
  readonly boundaries: readonly number[];
  readonly values: readonly number[];
  readonly name: string | null;

  constructor(options: PiecewiseConstantDecayOptions) {
    super();
    checkOptions("PiecewiseConstantDecay", options, NAMES);
    this.boundaries = numberList("boundaries", options.boundaries);
    this.values = numberList("values", options.values);
    checkLengths(this.boundaries, this.values);
    if (this.boundaries.some((boundary, i) => i > 0 && boundary < this.boundaries[i - 1]!)) {
      throw new OptionError({
        argument: "boundaries",
        received: this.boundaries,
        expected: "numbers in increasing order",
      });
    }
    this.name = optionalName(options.name);
  }

  /**
   * The rate of one step, a float32.
   *
   * @throws {ArgumentError} for a step that is not a finite number.
   */
  override call(step: number): number {
    const whole = Number.isInteger(checkStep(step));
    const position = whole ? step : f32(step);
    const index = this.boundaries.findIndex(
      (boundary) => position <= (whole ? Math.trunc(boundary) : f32(boundary)),
    );
    return f32(this.values[index === -1 ? this.boundaries.length : index]!);
  }

  /** The options in Keras' spelling, the numbers as they were given. */
  override getConfig(): ScheduleConfig {
    return { boundaries: [...this.boundaries], values: [...this.values], name: this.name };
  }

  /**
   * The schedule that a config in Keras' spelling describes.
   *
   * @throws {OptionError} for an unknown key, and for whatever the constructor refuses.
   */
  static override fromConfig(config: ScheduleConfig): PiecewiseConstantDecay {
    const options = optionsFromConfig("PiecewiseConstantDecay", config, NAMES);
    return new this(options as unknown as PiecewiseConstantDecayOptions);
  }
}
