import { dtypeInfo, type TypedArray, viewOf } from "@shardgrad/workers";
import { eventLoopTurn } from "../runtime/event-loop-share.js";
import { runtimeInternals } from "../runtime/internals.js";
import { readLazily } from "./gather-lazily.js";
import { readableOf } from "./handle.js";
import { type VariableInternals, variableInternals } from "./internals.js";
import { refuseWhenDisposed } from "./read-guard.js";
import type { ReadableVariable } from "./readable-variable.js";
import { targetOf } from "./row-layout.js";

/** Elements copied between two looks at the event loop: some tenths of a millisecond. */
const PART = 262_144;

/**
 * All values between two steps of the queue; of this machine's memory in parts, with turns of the event loop between. The
 * first part is copied before the call returns when no step waits or runs.
 */
export function readInQueue(variable: ReadableVariable): Promise<TypedArray> {
  const internals = variable[variableInternals];
  const { runtime } = internals;
  const { queue, share } = runtime[runtimeInternals];
  return queue.runAlways(async () => {
    refuseWhenDisposed(variable);
    const { storage } = internals;
    const { dtype, size } = variable;
    const target = viewOf(dtype, new ArrayBuffer(size * dtypeInfo[dtype].bytes), 0, size);
    storage.hold();
    try {
      // Where they are is decided in the turn of the call: a synchronous step may follow in it.
      for (let isRead = false; !isRead; ) {
        const isAway = runtime[runtimeInternals].placed?.isAway(storage.segments) === true;
        isRead = await (isAway ? readDevice(internals, target) : readHost(variable, internals, target));
      }
      await share.turn();
      return target;
    } finally {
      storage.letGo();
    }
  });
}

/** False when the current values are not on a device, or not any more. */
async function readDevice(internals: VariableInternals, target: TypedArray): Promise<boolean> {
  const { storage, lazy, runtime } = internals;
  const { placed } = runtime[runtimeInternals];
  if (!placed?.isAway(storage.segments)) return false;
  if (lazy?.behind) return readLazily(placed, internals, lazy, target);
  await storage.readDevice(target);
  return true;
}

/** False when a synchronous step has left the current values on a device meanwhile. */
async function readHost(
  variable: ReadableVariable,
  internals: VariableInternals,
  target: TypedArray,
): Promise<boolean> {
  const { storage, runtime, rowSize } = internals;
  const { placed } = runtime[runtimeInternals];
  if (placed?.isAway(storage.segments)) return false;
  // Not stale now: it is noted that the host asks for them.
  storage.refuseStale();
  const { layout, reader, rows } = readableOf(variable, internals);
  const step = Math.max(1, Math.floor(PART / rowSize));
  for (let row = 0; row < rows && rowSize > 0; row += step) {
    if (row > 0) await eventLoopTurn();
    if (placed?.isAway(storage.segments)) return false;
    const count = Math.min(step, rows - row);
    const part = target.subarray(row * rowSize, (row + count) * rowSize);
    reader.readRows(row, count, targetOf(layout, part));
  }
  return true;
}
