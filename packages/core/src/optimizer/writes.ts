import { LaneLostError, type StepOutcome, type StepPlan } from "@shardgrad/workers";
import type { VariableHeader, WriteKind } from "../variable/header.js";
import { type VariableInternals, variableInternals } from "../variable/internals.js";
import type { Variable } from "../variable/variable.js";

/** Tells readers that the variables are written without their rows' version words, until the work has ended. */
export function* writing<Request, Outcome, Answer>(
  kind: WriteKind,
  variables: readonly Variable[],
  work: Generator<Request, Outcome, Answer>,
): Generator<Request, Outcome, Answer> {
  const headers = variables.map((variable) => variable[variableInternals].header);
  for (const header of headers) header.beginWrite(kind);
  let ended: Promise<unknown> | undefined;
  try {
    return yield* work;
  } catch (error) {
    // A thread that was given up may write for a moment still.
    if (error instanceof LaneLostError) ended = error.ended;
    throw error;
  } finally {
    const end = () => {
      for (const header of headers) header.endWrite(kind);
    };
    if (ended === undefined) end();
    else void ended.then(end);
  }
}

/** A plan as the work of a step. */
export function* executing(
  plan: StepPlan,
): Generator<StepPlan, StepOutcome | undefined, StepOutcome | undefined> {
  return yield plan;
}

/** Writes values within one call. */
export function writeNow(headers: readonly VariableHeader[], write: () => void): void {
  for (const header of headers) header.beginWrite("script");
  try {
    write();
  } finally {
    for (const header of headers) header.endWrite("script");
  }
}

/**
 * After a lost lane: version words that it left odd become even, so that readers do not wait for it for ever. Only when
 * it has stopped writing.
 */
export function freeRows(error: LaneLostError, variables: readonly VariableInternals[]): void {
  const free = () => {
    for (const { storage } of variables) {
      for (const { home, versions } of storage.segments) {
        const words = new Int32Array(home.arena.memory.buffer, versions.block.offset, versions.mask + 1);
        for (let i = 0; i < words.length; i++)
          if ((Atomics.load(words, i) & 1) === 1) Atomics.add(words, i, 1);
      }
    }
  };
  if (error.ended === undefined) {
    free();
    return;
  }
  for (const { storage } of variables) storage.hold();
  void error.ended.then(() => {
    free();
    for (const { storage } of variables) storage.letGo();
  });
}
