import { OptionError } from "../errors/index.js";

/** An integer within bounds, both included. */
export function integerOption(argument: string, value: unknown, least: number, most: number): number {
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
    throw new OptionError({ argument, received: value, expected: `an integer from ${least} to ${most}` });
  }
  return value as number;
}
