import { ArgumentError, OptionError } from "../errors/index.js";
import { CosineDecay } from "./cosine-decay.js";
import { CosineDecayRestarts } from "./cosine-decay-restarts.js";
import { ExponentialDecay } from "./exponential-decay.js";
import { InverseTimeDecay } from "./inverse-time-decay.js";
import { LearningRateSchedule, type ScheduleConfig } from "./learning-rate-schedule.js";
import { PiecewiseConstantDecay } from "./piecewise-constant-decay.js";
import { PolynomialDecay } from "./polynomial-decay.js";

/** A schedule in Keras' serialized form. */
export interface SerializedSchedule {
  class_name: string;
  config: ScheduleConfig;
}

/** Something that makes a schedule from its config: a subclass of `LearningRateSchedule`. */
export interface ScheduleFactory {
  fromConfig(config: ScheduleConfig): LearningRateSchedule;
}

/** Your own schedules, by the name under which they were serialized. */
export type CustomSchedules = Readonly<Record<string, ScheduleFactory>>;

const SCHEDULES: ReadonlyMap<string, ScheduleFactory> = new Map<string, ScheduleFactory>([
  ["ExponentialDecay", ExponentialDecay],
  ["PiecewiseConstantDecay", PiecewiseConstantDecay],
  ["PolynomialDecay", PolynomialDecay],
  ["InverseTimeDecay", InverseTimeDecay],
  ["CosineDecay", CosineDecay],
  ["CosineDecayRestarts", CosineDecayRestarts],
]);

/** The name of a schedule's class: for the ones here Keras' name, also where a bundler has renamed the class. */
function classNameOf(schedule: LearningRateSchedule): string {
  const ownClass: unknown = schedule.constructor;
  for (const [name, factory] of SCHEDULES) {
    if (ownClass === factory) return name;
  }
  return schedule.constructor.name;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The factory for a name; yours come first, and Keras' "Package>Name" also finds yours called "Name". */
function find(className: string, customObjects: CustomSchedules): ScheduleFactory | undefined {
  for (const name of [className, className.slice(className.lastIndexOf(">") + 1)]) {
    if (!Object.hasOwn(customObjects, name)) continue;
    const factory: unknown = customObjects[name];
    if (typeof (factory as Partial<ScheduleFactory> | null)?.fromConfig === "function") {
      return factory as ScheduleFactory;
    }
    throw new OptionError({
      argument: `customObjects.${name}`,
      received: factory,
      expected: "a class with a static fromConfig",
    });
  }
  return SCHEDULES.get(className);
}

/**
 * A schedule in Keras' serialized form: the name of its class, and its config.
 *
 * Source: Keras 2.9.0 `schedules.serialize`.
 *
 * @throws {ArgumentError} for something that is not a `LearningRateSchedule`, or whose class has no name.
 * @example
 * ```ts
 * import { CosineDecay, serializeSchedule } from "@shardgrad/core";
 *
 * console.log(serializeSchedule(new CosineDecay({ initialLearningRate: 0.1, decaySteps: 10 })).class_name); // CosineDecay
 * ```
 */
export function serializeSchedule(schedule: LearningRateSchedule): SerializedSchedule {
  if (!(schedule instanceof LearningRateSchedule)) {
    throw new ArgumentError({ argument: "schedule", received: schedule, expected: "a LearningRateSchedule" });
  }
  const class_name = classNameOf(schedule);
  if (class_name === "") {
    throw new ArgumentError({
      argument: "schedule",
      received: schedule,
      expected: "a class that has a name",
    });
  }
  return { class_name, config: schedule.getConfig() };
}

/**
 * The schedule that a serialized form describes; what was passed in stays as it was.
 *
 * Takes what `serializeSchedule` and Keras 2.9.0 give, and the form of later Keras versions, whose other keys
 * (`module`, `registered_name`, `build_config`) are not looked at.
 *
 * Source: Keras 2.9.0 `schedules.deserialize`.
 *
 * @param options.customObjects Your own schedules, by class name.
 * @throws {OptionError} for an unknown class name, a form without `class_name` or `config`, or a bad config.
 * @example
 * ```ts
 * import { deserializeSchedule } from "@shardgrad/core";
 *
 * const config = { initial_learning_rate: 0.5, decay_steps: 10, decay_rate: 0.5 };
 * console.log(deserializeSchedule({ class_name: "ExponentialDecay", config }).call(10)); // 0.25
 * ```
 */
export function deserializeSchedule(
  serialized: SerializedSchedule,
  options: { customObjects?: CustomSchedules | undefined } = {},
): LearningRateSchedule {
  const given: unknown = serialized;
  if (!isObject(given)) {
    throw new OptionError({
      argument: "serialized",
      received: given,
      expected: "an object with `class_name` and `config`",
    });
  }
  const { class_name: className, config } = given;
  if (typeof className !== "string") {
    throw new OptionError({
      argument: "class_name",
      received: className,
      expected: "the name of a schedule class",
    });
  }
  if (!isObject(config)) {
    throw new OptionError({ argument: "config", received: config, expected: "an object" });
  }
  const factory = find(className, options.customObjects ?? {});
  if (factory === undefined) {
    throw new OptionError({
      argument: "class_name",
      received: className,
      expected: "the name of a schedule class",
      message:
        `Unknown decay: ${className}. Please ensure this object is passed to the \`custom_objects\` argument. ` +
        "See https://www.tensorflow.org/guide/keras/save_and_serialize#registering_the_custom_object for details.",
    });
  }
  const schedule: unknown = factory.fromConfig({ ...config });
  if (!(schedule instanceof LearningRateSchedule)) {
    throw new OptionError({
      argument: `customObjects.${className}`,
      received: schedule,
      expected: "a class whose fromConfig gives a LearningRateSchedule",
    });
  }
  return schedule;
}
