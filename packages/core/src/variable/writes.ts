import { LaneLostError } from "@shardgrad/workers";
import type { WriteKind } from "./header.js";
import { type VariableInternals, variableInternals } from "./internals.js";

interface HasInternals {
  readonly [variableInternals]: VariableInternals;
}

/** Tells readers that variables are written without their rows' version words, until `closeWrites`. */
export function openWrites(kind: WriteKind, variables: readonly HasInternals[]): void {
  for (const variable of variables) variable[variableInternals].header.beginWrite(kind);
}

/** @param error - of the work, when it failed */
export function closeWrites(kind: WriteKind, variables: readonly HasInternals[], error?: unknown): void {
  if (error instanceof LaneLostError && error.ended !== undefined) {
    // A thread that was given up may write for a moment still.
    void error.ended.then(() => closeWrites(kind, variables));
    return;
  }
  for (const variable of variables) variable[variableInternals].header.endWrite(kind);
}

/** Writes within one call, of JavaScript or on the calling thread. */
export function writeNow(variables: readonly HasInternals[], write: () => void): void {
  openWrites("script", variables);
  try {
    write();
  } catch (error) {
    closeWrites("script", variables, error);
    throw error;
  }
  closeWrites("script", variables);
}

/** The same for a model variable and all slots beside it. The write must not fail. */
export function writeWithSlots(model: HasInternals, write: () => void): void {
  const { header } = model[variableInternals];
  header.beginWrite("script", false);
  header.beginWrite("script", true);
  write();
  header.endWrite("script", true);
  header.endWrite("script", false);
}

/** The same for work that asks its driver for something. */
export function* writing<Request, Outcome, Answer>(
  kind: WriteKind,
  variables: readonly HasInternals[],
  work: Generator<Request, Outcome, Answer>,
): Generator<Request, Outcome, Answer> {
  openWrites(kind, variables);
  let outcome: Outcome;
  try {
    outcome = yield* work;
  } catch (error) {
    closeWrites(kind, variables, error);
    throw error;
  }
  closeWrites(kind, variables);
  return outcome;
}

/**
 * After a lost lane: version words that it left odd become even, so that readers do not wait for it for ever; once it
 * has stopped writing.
 */
export function freeRows(error: LaneLostError, variables: readonly HasInternals[]): void {
  const storages = variables.map((variable) => variable[variableInternals].storage);
  for (const storage of storages) storage.hold();
  const free = () => {
    for (const storage of storages) {
      for (const { home, versions } of storage.segments) {
        const words = new Int32Array(home.arena.memory.buffer, versions.block.offset, versions.mask + 1);
        for (let i = 0; i < words.length; i++)
          if ((Atomics.load(words, i) & 1) === 1) Atomics.add(words, i, 1);
      }
      storage.letGo();
    }
  };
  if (error.ended === undefined) free();
  else void error.ended.then(free);
}
