import { runtimeInternals } from "../runtime/internals.js";
import { variableInternals } from "./internals.js";
import { catchUpAsync, catchUpSync, type LazyAverage } from "./lazy-average.js";

/**
 * Brings a table up to date before its average goes: now, or behind the steps that wait or run, which write the same rows.
 * @param failed - told of what went wrong later
 */
export function catchUpAtLast(lazy: LazyAverage, failed: (error: unknown) => void): void {
  const { queue } = lazy.variable[variableInternals].runtime[runtimeInternals];
  if (queue.pending === 0) {
    catchUpSync(lazy);
    return;
  }
  const { storage } = lazy.average[variableInternals];
  storage.hold();
  const caughtUp = queue.runAlways(() => catchUpAsync(lazy));
  void caughtUp.catch(failed).finally(() => storage.letGo());
}
