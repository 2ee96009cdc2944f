import { runtimeInternals } from "../runtime/internals.js";
import { catchUpAsync, catchUpSync } from "./catch-up.js";
import { variableInternals } from "./internals.js";
import type { LazyAverage } from "./lazy-average.js";

/**
 * Brings tables up to date before their averages go: now, or behind the steps that wait or run, which write the same rows.
 * @param drop - lets the averages go, after that
 * @param failed - told of what went wrong later
 */
export function catchUpAtLast(
  lazies: readonly LazyAverage[],
  drop: () => void,
  failed: (error: unknown) => void,
): void {
  const queue = lazies[0]?.variable[variableInternals].runtime[runtimeInternals].queue;
  if (queue === undefined || queue.pending === 0) {
    for (const lazy of lazies) catchUpSync(lazy);
    drop();
    return;
  }
  const caughtUp = queue.runAlways(async () => {
    for (const lazy of lazies) await catchUpAsync(lazy);
  });
  void caughtUp.catch(failed).finally(drop);
}
