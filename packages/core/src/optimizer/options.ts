import { OptionError } from "../errors/index.js";
import type { GradientAggregator } from "../gradients/aggregators.js";
import type { Runtime } from "../runtime/runtime.js";
import type { LearningRateSchedule } from "../schedules/index.js";

/** Options of every optimizer, after Keras 2.9.0's experimental `Optimizer.__init__`. */
export interface OptimizerOptions {
  /** A number (kept as float32, as Keras does) or a schedule. Default 0.001. */
  readonly learningRate?: number | LearningRateSchedule | undefined;
  /** Limits the norm of each gradient. Null, 0 and negative numbers: off. */
  readonly clipnorm?: number | null | undefined;
  /** Limits each gradient element to [-clipvalue, clipvalue]. */
  readonly clipvalue?: number | null | undefined;
  /** Limits the norm over all gradients of a step. */
  readonly globalClipnorm?: number | null | undefined;
  /** Keeps an exponential moving average of each variable. Default false. */
  readonly useEma?: boolean | undefined;
  /** average = emaMomentum * average + (1 - emaMomentum) * variable. Default 0.99. */
  readonly emaMomentum?: number | undefined;
  /** Every so many steps the variables take their averages' values. Null or 0: never. */
  readonly emaOverwriteFrequency?: number | null | undefined;
  /**
   * `eager` (Keras, default) brings the averages of all rows up to date at every step. `lazy` does it for the rows that
   * a step touches, for variables that get indexed slices: the same averages up to rounding, at the cost of the batch
   * instead of the table. `gather`, `toArray` and `finalizeVariableValues` see averages and overwrites that are up to
   * date; before reading `data`, call `await variable.materialize()`. See docs/averages.md.
   */
  readonly sparseEma?: SparseEma | undefined;
  /** Lets steps go to a GPU where there is one. Default true; ignored without one, as in Keras. See docs/gpu.md. */
  readonly jitCompile?: boolean | undefined;
  /** Prefix of the names of optimizer variables. Default: the class' name. */
  readonly name?: string | null | undefined;
  /** Default: the runtime of the variables. */
  readonly runtime?: Runtime | undefined;
  /** Sums gradients over replicas before each step. */
  readonly aggregator?: GradientAggregator | undefined;
}

/** When averages of untouched rows are brought up to date: see {@link OptimizerOptions.sparseEma}. */
export type SparseEma = "eager" | "lazy";

/** Options with their defaults, checked. */
export interface CheckedOptions {
  readonly clipnorm: number | null;
  readonly clipvalue: number | null;
  readonly globalClipnorm: number | null;
  readonly useEma: boolean;
  readonly emaMomentum: number;
  readonly emaOverwriteFrequency: number | null;
  readonly sparseEma: SparseEma;
  readonly jitCompile: boolean;
}

const baseOptions: ReadonlySet<string> = new Set([
  "learningRate",
  "clipnorm",
  "clipvalue",
  "globalClipnorm",
  "useEma",
  "emaMomentum",
  "emaOverwriteFrequency",
  "sparseEma",
  "jitCompile",
  "name",
  "runtime",
  "aggregator",
]);

/** Options of older optimizers that Keras 2.9.0 accepts with a warning and no effect. */
const legacyOptions: ReadonlySet<string> = new Set([
  "lr",
  "decay",
  "gradientTransformers",
  "gradientAggregator",
  "gradient_transformers",
  "gradient_aggregator",
]);

/**
 * Checks in the order of Keras 2.9.0: EMA momentum, EMA frequency, the clip pair, unknown options; then what
 * Keras leaves unchecked.
 * @throws OptionError
 */
export function checkOptimizerOptions(options: OptimizerOptions, own: readonly string[]): CheckedOptions {
  if (typeof options !== "object" || options === null) refuse("options", options, "an object of options");
  const checked: CheckedOptions = {
    clipnorm: options.clipnorm ?? null,
    clipvalue: options.clipvalue ?? null,
    globalClipnorm: options.globalClipnorm ?? null,
    useEma: options.useEma ?? false,
    emaMomentum: options.emaMomentum ?? 0.99,
    emaOverwriteFrequency: options.emaOverwriteFrequency ?? null,
    sparseEma: options.sparseEma ?? "eager",
    jitCompile: options.jitCompile ?? true,
  };
  if (checked.useEma) checkEma(checked);
  if (checked.clipnorm !== null && checked.globalClipnorm !== null) {
    const received = `clipnorm=${checked.clipnorm}, global_clipnorm=${checked.globalClipnorm}`;
    refuse(
      "globalClipnorm",
      checked.globalClipnorm,
      "null, as clipnorm is set",
      `At most one of \`clipnorm\` and \`global_clipnorm\` can be set. Received: ${received}.`,
    );
  }
  checkNames(options, own);
  for (const name of ["clipnorm", "clipvalue", "globalClipnorm"] as const) {
    if (checked[name] !== null) checkNumber(name, checked[name]);
  }
  checkNumber("emaMomentum", checked.emaMomentum);
  for (const name of ["useEma", "jitCompile"] as const) {
    if (typeof checked[name] !== "boolean") refuse(name, checked[name], "true or false");
  }
  if (checked.sparseEma !== "eager" && checked.sparseEma !== "lazy") {
    refuse("sparseEma", checked.sparseEma, '"eager" or "lazy"');
  }
  checkObjects(options);
  return checked;
}

function checkEma({ emaMomentum, emaOverwriteFrequency }: CheckedOptions): void {
  if (!(emaMomentum >= 0 && emaMomentum <= 1)) {
    const message = `\`ema_momentum\` must be in the range [0, 1]. Received: ema_momentum=${emaMomentum}`;
    refuse("emaMomentum", emaMomentum, "a number from 0 to 1", message);
  }
  const frequency: unknown = emaOverwriteFrequency;
  // Python's True is the integer 1.
  if (frequency === null || frequency === 0 || typeof frequency === "boolean") return;
  if (!Number.isInteger(frequency) || (frequency as number) < 1) {
    const received = `ema_overwrite_frequency=${String(frequency)}`;
    const message = `\`ema_overwrite_frequency\` must be an integer > 1 or None. Received: ${received}`;
    refuse("emaOverwriteFrequency", frequency, "an integer of 1 or more, or null", message);
  }
}

function checkNames(options: object, own: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (baseOptions.has(name) || own.includes(name)) continue;
    if (!legacyOptions.has(name)) throw unknownOption(name, (options as Record<string, unknown>)[name]);
    process.emitWarning(
      `${name} is deprecated in \`optimizer_experimental.Optimizer\`, please check the docstring for valid arguments.`,
      { type: "ShardgradWarning" },
    );
  }
}

/** Keras' words for an argument that it does not know. */
export function unknownOption(name: string, received: unknown): OptionError {
  const message = `${name} is not a valid argument, kwargs should be empty  for \`optimizer_experimental.Optimizer\`.`;
  return new OptionError({
    argument: name,
    received,
    expected: "an option that the optimizer knows",
    message,
  });
}

function checkObjects({ runtime, aggregator, name }: OptimizerOptions): void {
  if (runtime !== undefined && typeof runtime?.allocate !== "function")
    refuse("runtime", runtime, "a Runtime");
  if (aggregator !== undefined && typeof aggregator?.aggregateGradients !== "function") {
    refuse("aggregator", aggregator, "an object with a method aggregateGradients");
  }
  if (name !== undefined && name !== null && typeof name !== "string") refuse("name", name, "a string");
}

export function checkNumber(argument: string, value: unknown, least = Number.NEGATIVE_INFINITY): void {
  if (typeof value === "number" && value >= least) return;
  refuse(argument, value, least === 0 ? "a number, 0 or more" : "a number");
}

/** A rate as Keras keeps it: a float32 number. @throws OptionError unless it is a finite number */
export function checkRate(value: unknown, argument = "learningRate"): number {
  if (Number.isFinite(value)) return Math.fround(value as number);
  return refuse(argument, value, "a finite number or a LearningRateSchedule");
}

export function isSchedule(value: unknown): value is LearningRateSchedule {
  const candidate = value as Partial<LearningRateSchedule> | null | undefined;
  return typeof candidate?.call === "function" && typeof candidate.getConfig === "function";
}

function refuse(argument: string, received: unknown, expected: string, message?: string): never {
  throw new OptionError({ argument, received, expected, ...(message === undefined ? {} : { message }) });
}
