import { OptionError } from "../errors/index.js";
import { type CustomSchedules, deserializeSchedule } from "../schedules/index.js";
import { unknownOption } from "./options.js";

/** An optimizer's configuration under Keras' snake_case keys; JSON can carry it. */
export type OptimizerConfig = Record<string, unknown>;

/** What Keras' `serialize` wraps around a config. */
interface WrappedConfig {
  readonly class_name: string;
  readonly config: OptimizerConfig;
}

/** Keys of later Keras versions, with the values under which they change nothing. */
const offValues: Readonly<Record<string, readonly unknown[]>> = {
  weight_decay: [null, 0, false],
  loss_scale_factor: [null],
  gradient_accumulation_steps: [null, 1],
  is_legacy_optimizer: [false],
};

const optionKeys: Readonly<Record<string, string>> = {
  clipnorm: "clipnorm",
  global_clipnorm: "globalClipnorm",
  clipvalue: "clipvalue",
  use_ema: "useEma",
  ema_momentum: "emaMomentum",
  ema_overwrite_frequency: "emaOverwriteFrequency",
  jit_compile: "jitCompile",
  learning_rate: "learningRate",
  name: "name",
};

/** What every optimizer has beyond Keras. */
const extensionKeys: Readonly<Record<string, string>> = { sparse_ema: "sparseEma" };

/**
 * Constructor options from a config, which is not changed.
 *
 * @param own - the subclass' keys and the options that they stand for
 * @throws OptionError for keys that are unknown, or that are on in later Keras versions
 */
export function optionsFromConfig(
  config: unknown,
  className: string,
  own: Readonly<Record<string, string>>,
  customObjects?: CustomSchedules,
): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(unwrapped(config, className))) {
    const name = optionKeys[key] ?? own[key];
    if (name !== undefined) options[name] = value;
    else if (key === "shardgrad") Object.assign(options, extensions(value, own));
    else if (isOff(key, value)) continue;
    else if (isOption(key, own)) throw unknownOption(key, value);
    // The constructor knows what to say about the rest, and in which order.
    else options[key] = value;
  }
  const rate = options.learningRate;
  if (typeof rate === "object" && rate !== null) {
    options.learningRate = deserializeSchedule(
      rate as never,
      customObjects === undefined ? {} : { customObjects },
    );
  }
  return options;
}

function unwrapped(config: unknown, className: string): OptimizerConfig {
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new OptionError({
      argument: "config",
      received: config,
      expected: "an object as getConfig returns",
    });
  }
  if (!("class_name" in config)) return config as OptimizerConfig;
  const { class_name: name, config: inner } = config as WrappedConfig;
  // Keras writes "Custom>Adagrad" or "Package>Adagrad" for registered classes.
  if (typeof name !== "string" || name.split(">").pop() !== className) {
    throw new OptionError({ argument: "class_name", received: name, expected: `"${className}"` });
  }
  return unwrapped(inner, className);
}

function isOff(key: string, value: unknown): boolean {
  return Object.hasOwn(offValues, key) && offValues[key]!.includes(value);
}

/** Whether a key is the name of a constructor option, which no config has. */
function isOption(key: string, own: Readonly<Record<string, string>>): boolean {
  return (
    [optionKeys, extensionKeys, own].some((keys) => Object.values(keys).includes(key)) ||
    key === "runtime" ||
    key === "aggregator"
  );
}

/** What Keras has no key for lies under one key of ours. */
function extensions(value: unknown, own: Readonly<Record<string, string>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value as object).map(([key, item]) => {
      const name = extensionKeys[key] ?? own[`shardgrad.${key}`];
      if (name === undefined) throw unknownOption(`shardgrad.${key}`, item);
      return [name, item];
    }),
  );
}
