import type { StepOutcome, StepPlan } from "@shardgrad/workers";
import { StateError } from "../errors/index.js";
import type { CheckedPair } from "../gradients/pairs.js";
import { catchUpOf } from "../variable/catch-up.js";
import { variableInternals } from "../variable/internals.js";
import type { LazyAverage } from "../variable/lazy-average.js";
import type { Variable } from "../variable/variable.js";
import { writing } from "../variable/writes.js";
import type { PreparedStep, StepRequest } from "./step.js";

/** The lazy averages of a variable that this step's optimizer keeps. */
export function ownLazy(step: PreparedStep, variable: Variable): LazyAverage | undefined {
  const { lazy } = variable[variableInternals];
  return lazy !== undefined && lazy.average === step.averageOf(variable) ? lazy : undefined;
}

/**
 * Brings lazy averages up to date where the step changes rows without saying which, or where nobody will note the
 * change: rows that are not up to date must not change. It gives no average and no row another meaning, so that a step
 * that fails afterwards has changed nothing.
 * @throws StateError
 */
export function* catchUp(step: PreparedStep): Generator<StepRequest, void, StepOutcome | undefined> {
  if (!step.pairs.some(isKeptLazily)) return;
  for (const { variable } of step.pairs) refuseWhilePassing(variable);
  const needed = step.pairs.map(({ gradient, variable }) => {
    const { lazy } = variable[variableInternals];
    const byRow = gradient.kind === "slices" && step.average !== null && lazy === ownLazy(step, variable);
    return lazy?.full || (lazy?.behind && !byRow) ? lazy : undefined;
  });
  const lazies = needed.filter((lazy) => lazy !== undefined);
  if (lazies.length === 0) return;
  const updates = step.pairs.map(({ variable }, i) => catchUpOf(variable, needed[i]));
  const elements = lazies.reduce((sum, { variable }) => sum + variable.size, 0);
  const plan: StepPlan = { updates, clip: { kind: "none" }, average: null, elements };
  const written = lazies.flatMap(({ variable, average }) => [variable, average]);
  yield* writing("device", written, executing(plan, lazies));
}

function* executing(
  plan: StepPlan,
  lazies: readonly LazyAverage[],
): Generator<StepPlan, void, StepOutcome | undefined> {
  const clocks = lazies.map(({ clock }) => clock);
  for (const lazy of lazies) lazy.passing = true;
  try {
    yield plan;
    lazies.forEach((lazy, i) => {
      lazy.caughtUp(clocks[i]);
    });
  } finally {
    for (const lazy of lazies) lazy.passing = false;
  }
}

function isKeptLazily({ variable }: CheckedPair): boolean {
  return variable[variableInternals].lazy !== undefined;
}

/** A synchronous step can come while threads bring its table up to date, by the same rows. */
function refuseWhilePassing({ name, [variableInternals]: { lazy } }: Variable): void {
  if (!lazy?.passing) return;
  throw new StateError(`${name} is being brought up to date: await the call that does it first.`);
}
