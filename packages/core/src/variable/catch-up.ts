import { LaneLostError, type UpdatePlan } from "@shardgrad/workers";
import { WorkerLostError } from "../errors/index.js";
import { runtimeInternals } from "../runtime/internals.js";
import { variableInternals } from "./internals.js";
import type { LazyAverage } from "./lazy-average.js";
import type { Variable } from "./variable.js";
import { closeWrites, openWrites, writeNow } from "./writes.js";

/** The update of a plan that brings a table up to date; nothing for a variable without lazy averages. */
export function catchUpOf(variable: Variable, lazy: LazyAverage | undefined): UpdatePlan {
  const { storage, rowSize, pin } = variable[variableInternals];
  const segments = lazy === undefined ? [] : storage.segments;
  const averages = lazy?.average[variableInternals].storage.segments;
  return {
    operation: "catchUp",
    name: variable.name,
    dtype: variable.dtype,
    rowSize,
    pin,
    segments: segments.map(({ start, count, block, home, versions }, i) => ({
      memory: home.arena.id,
      start,
      count,
      variable: block.offset,
      accumulator: 0,
      average: averages![i]!.block.offset,
      gradient: { kind: "none" },
      versions: versions.block.offset,
      versionMask: versions.mask,
      lazy: lazy!.offset(i),
    })),
    learningRate: 0,
    epsilon: 0,
    perRow: false,
    rowwise: false,
  };
}

/** Catches up as a step of its own. @throws WorkerLostError */
export async function catchUpAsync(lazy: LazyAverage): Promise<void> {
  if (!lazy.behind || lazy.isOver) return;
  const { variable, average } = lazy;
  const { runtime, storage } = variable[variableInternals];
  const { device, placed } = runtime[runtimeInternals];
  const held = [storage, average[variableInternals].storage];
  for (const storage of held) storage.hold();
  openWrites("device", [variable, average]);
  const { clock } = lazy;
  // A device does what it is given in order.
  lazy.passing = !placed?.isAway(storage.segments);
  try {
    await device.run(lazy.plan);
    lazy.caughtUp(clock);
    closeWrites("device", [variable, average]);
  } catch (error) {
    closeWrites("device", [variable, average], error);
    throw workerLost(error, variable);
  } finally {
    lazy.passing = false;
    for (const storage of held) storage.letGo();
  }
}

/** The same on the calling thread. The caller makes sure that no step runs. @throws WorkerLostError */
export function catchUpSync(lazy: LazyAverage): void {
  if (!lazy.behind || lazy.isOver) return;
  const { variable, average } = lazy;
  try {
    writeNow([variable, average], () => {
      variable[variableInternals].runtime[runtimeInternals].device.runSync(lazy.plan);
      lazy.caughtUp();
    });
  } catch (error) {
    throw workerLost(error, variable);
  }
}

/** A lost lane in its users' terms; another error as it is. */
function workerLost(error: unknown, { name }: Variable): unknown {
  if (!(error instanceof LaneLostError)) return error;
  const damage = error.damage.map(({ state, elements }) => ({
    variable: name,
    state,
    ...(elements === undefined ? {} : { elements }),
  }));
  return new WorkerLostError({ damage, cause: error });
}
