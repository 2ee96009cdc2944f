import { SplitVariableError, StateError } from "../errors/index.js";
import { runtimeInternals } from "../runtime/internals.js";
import { catchUpAsync } from "./catch-up.js";
import { type VariableInternals, variableInternals } from "./internals.js";
import { refuseWhenDisposed } from "./read-guard.js";
import type { ReadableVariable } from "./readable-variable.js";

/** A tensor of the application's tfjs with a variable's values, between two steps of the queue. */
export function tensorInQueue(variable: ReadableVariable): Promise<object> {
  const internals = variable[variableInternals];
  const { queue } = internals.runtime[runtimeInternals];
  return queue.run(async () => {
    refuseWhenDisposed(variable);
    if (internals.lazy?.behind) await catchUpAsync(internals.lazy);
    internals.storage.hold();
    try {
      const tensor = await tensorOf(variable, internals);
      if (typeof tensor === "object") return tensor;
      throw new StateError(`There is no tensor of ${variable.name}: ${tensor}.`);
    } finally {
      internals.storage.letGo();
    }
  });
}

async function tensorOf(
  { name, dtype, shape }: ReadableVariable,
  { storage, rowSize, runtime }: VariableInternals,
): Promise<object | string> {
  const { placed } = runtime[runtimeInternals];
  if (placed === undefined) return 'the runtime has no device; it needs `device: "tfjs"`';
  const [segment] = storage.segments;
  if (storage.segments.length !== 1 || segment === undefined) {
    throw new SplitVariableError(
      `${name} lies in ${storage.segments.length} segments: a tensor is of one piece.`,
    );
  }
  const { home, block, count } = segment;
  return placed.tensor({ memory: home.arena.id, offset: block.offset, dtype, count, rowSize }, shape);
}
