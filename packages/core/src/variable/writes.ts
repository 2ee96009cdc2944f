import { LaneLostError } from "@shardgrad/workers";
import type { WriteKind } from "./header.js";
import { type VariableInternals, variableInternals } from "./internals.js";

interface HasInternals {
  readonly [variableInternals]: VariableInternals;
}

/**
 * Tells readers that variables are written without their rows' version words.
 * @returns what ends that; with the error of the work when it failed
 */
export function openWrites(kind: WriteKind, variables: readonly HasInternals[]): (error?: unknown) => void {
  const headers = variables.map((variable) => variable[variableInternals].header);
  for (const header of headers) header.beginWrite(kind);
  return (error) => {
    const end = () => {
      for (const header of headers) header.endWrite(kind);
    };
    // A thread that was given up may write for a moment still.
    if (error instanceof LaneLostError && error.ended !== undefined) void error.ended.then(end);
    else end();
  };
}

/** The same for work that asks its driver for something. */
export function* writing<Request, Outcome, Answer>(
  kind: WriteKind,
  variables: readonly HasInternals[],
  work: Generator<Request, Outcome, Answer>,
): Generator<Request, Outcome, Answer> {
  const close = openWrites(kind, variables);
  let failure: unknown;
  try {
    return yield* work;
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    close(failure);
  }
}

/** The same for one call, of JavaScript or on the calling thread. */
export function writeNow(variables: readonly HasInternals[], write: () => void): void {
  const close = openWrites("script", variables);
  let failure: unknown;
  try {
    write();
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    close(failure);
  }
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
