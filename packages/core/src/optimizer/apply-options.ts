import { OptionError } from "../errors/index.js";
import { checkOptions } from "../schedules/options.js";
import type { ApplyOptions } from "./optimizer.js";

const names = { skipGradientsAggregation: "skipGradientsAggregation", signal: "signal" };

/** @throws OptionError */
export function checkApplyOptions(options: ApplyOptions): void {
  checkOptions("applyGradients", options, names);
  const { skipGradientsAggregation: skip = false, signal } = options;
  if (typeof skip !== "boolean") {
    const expected = "true or false";
    throw new OptionError({ argument: "skipGradientsAggregation", received: skip, expected });
  }
  if (signal !== undefined && typeof (signal as AbortSignal | null)?.addEventListener !== "function") {
    throw new OptionError({ argument: "signal", received: signal, expected: "an AbortSignal" });
  }
}
