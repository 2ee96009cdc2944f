import { runtimeInternals } from "../runtime/internals.js";
import { variableInternals } from "../variable/internals.js";
import type { Variable } from "../variable/variable.js";

/** Whether a variable's current values are on a device only. */
export function isAway(variable: Variable): boolean {
  const { storage, runtime } = variable[variableInternals];
  return runtime[runtimeInternals].placed?.isAway(storage.segments) === true;
}

/** Brings the variables home of which the values are on a device only; undefined where there are none. */
export function bringHome(variables: readonly Variable[]): Promise<void> | undefined {
  const away = variables.filter(isAway);
  if (away.length === 0) return undefined;
  const arrays = away.flatMap((variable) => variable[variableInternals].storage.segments);
  return away[0]![variableInternals].runtime[runtimeInternals].placed!.leave(arrays);
}
