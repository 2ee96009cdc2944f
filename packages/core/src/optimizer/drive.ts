import type { StepOutcome } from "@shardgrad/workers";
import type { RuntimeInternals } from "../runtime/internals.js";
import { PAUSE } from "./staging.js";
import type { StepRequest } from "./step.js";

/** Runs a step to its end, the event loop free in between. */
export async function driveAsync(
  step: Generator<StepRequest, StepOutcome, StepOutcome | undefined>,
  { device, share }: RuntimeInternals,
): Promise<StepOutcome> {
  let next = step.next();
  // Only now: the step has been checked and holds its memory, as its caller may dispose of things at once.
  const turn = share.turn();
  if (turn !== undefined) await turn;
  while (!next.done) {
    try {
      const answer = next.value === PAUSE ? await eventLoopTurn() : await device.run(next.value);
      next = step.next(answer);
    } catch (error) {
      next = step.throw(error);
    }
  }
  return next.value;
}

/** Runs a step to its end on the calling thread, which computes a share of it. */
export function driveSync(
  step: Generator<StepRequest, StepOutcome, StepOutcome | undefined>,
  { device }: RuntimeInternals,
): StepOutcome {
  let next = step.next();
  while (!next.done) {
    try {
      next = step.next(next.value === PAUSE ? undefined : device.runSync(next.value));
    } catch (error) {
      next = step.throw(error);
    }
  }
  return next.value;
}

function eventLoopTurn(): Promise<undefined> {
  return new Promise((resolve) => {
    setImmediate(resolve, undefined);
  });
}
