import { ArgumentError, OptionError } from "../errors/index.js";

/** Refuses something that is not an object, or that holds a key which is not in `known`. */
function checkKeys(argument: string, owner: string, given: unknown, known: readonly string[]): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new OptionError({ argument, received: given, expected: "an object" });
  }
  for (const [key, received] of Object.entries(given)) {
    if (known.includes(key)) continue;
    const expected = `one of ${known.join(", ")}`;
    const message = `\`${key}\` is not in the ${argument} of ${owner}: expected ${expected}`;
    throw new OptionError({ argument: key, received, expected, message });
  }
}

/** Refuses options that are not an object, and an option that `names` has no name for. */
export function checkOptions(owner: string, options: unknown, names: Readonly<Record<string, string>>): void {
  checkKeys("options", owner, options, Object.values(names));
}

/** A number that is finite, as given and as a float32. */
export function finiteNumber(argument: string, value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(Math.fround(value))) {
    const expected = Number.isFinite(value) ? "a finite number in float32" : "a finite number";
    throw new OptionError({ argument, received: value, expected });
  }
  return value;
}

/** A finite number above zero, as given and as a float32. */
export function positiveNumber(argument: string, value: unknown): number {
  const number = finiteNumber(argument, value);
  if (!(Math.fround(number) > 0)) {
    throw new OptionError({ argument, received: value, expected: "a finite number above 0" });
  }
  return number;
}

/** A finite number that is not negative. */
export function nonNegativeNumber(argument: string, value: unknown): number {
  const number = finiteNumber(argument, value);
  if (number < 0)
    throw new OptionError({ argument, received: value, expected: "a finite number of at least 0" });
  return number;
}

/** A list of finite numbers, copied. */
export function numberList(argument: string, value: unknown): readonly number[] {
  if (!Array.isArray(value)) {
    throw new OptionError({ argument, received: value, expected: "an array of finite numbers" });
  }
  return Object.freeze(Array.from(value, (item: unknown, i) => finiteNumber(`${argument}[${i}]`, item)));
}

export function flag(argument: string, value: unknown): boolean {
  if (typeof value !== "boolean") {
    throw new OptionError({ argument, received: value, expected: "true or false" });
  }
  return value;
}

export function optionalName(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value !== "string") {
    throw new OptionError({ argument: "name", received: value, expected: "a string or null" });
  }
  return value;
}

/** The step a schedule is asked about: any finite number. */
export function checkStep(step: unknown): number {
  if (typeof step !== "number" || !Number.isFinite(step)) {
    throw new ArgumentError({ argument: "step", received: step, expected: "a finite number" });
  }
  return step;
}

/** Maps the keys of a config in Keras' spelling to option names; a key that `names` lacks is refused. */
export function optionsFromConfig<Option extends string>(
  owner: string,
  config: unknown,
  names: Readonly<Record<string, Option>>,
): Partial<Record<Option, unknown>> {
  checkKeys("config", owner, config, Object.keys(names));
  const options: Partial<Record<Option, unknown>> = {};
  for (const [key, value] of Object.entries(config as Record<string, unknown>)) {
    const name = names[key];
    if (name !== undefined) options[name] = value;
  }
  return options;
}
