import { LAZY_BLOCK_BYTES, lazyWords, type TypedArray, viewOf } from "@shardgrad/workers";
import type { PlacedDevice } from "../placement/placed-device.js";
import { eventLoopTurn } from "../runtime/event-loop-share.js";
import { type VariableInternals, variableInternals } from "./internals.js";
import type { LazyAverage } from "./lazy-average.js";
import { AVERAGE_BEHIND, CURRENT, LazyRows } from "./lazy-rows.js";
import type { Storage } from "./storage.js";

/** Elements that are caught up between two looks at the event loop: some tenths of a millisecond. */
const PART = 65_536;

/** Copies elements that are on a device; false when they are not there any more. */
type Copy = (storage: Storage, target: TypedArray) => Promise<boolean>;

/**
 * Copies rows of a table with lazy averages, or of its average, that lives on a device: as a catch-up would leave them.
 * Nothing is brought up to date by it: what a table is later does not depend on where it was read. False when the current
 * values are not there, or not any more: `out` may be partly written.
 */
export function gatherLazily(
  placed: PlacedDevice,
  internals: VariableInternals,
  lazy: LazyAverage,
  rows: Uint32Array,
  out: TypedArray,
): Promise<boolean> {
  return copyCaughtUp(internals, lazy, rows, out, ({ segments }, { buffer, byteOffset, byteLength }) =>
    placed.gather(segments, internals.rowSize, rows, new Uint8Array(buffer, byteOffset, byteLength)),
  );
}

/** The same of all rows. */
export function readLazily(
  placed: PlacedDevice,
  internals: VariableInternals,
  lazy: LazyAverage,
  out: TypedArray,
): Promise<boolean> {
  const { accelerator } = placed;
  return copyCaughtUp(internals, lazy, undefined, out, async (storage, target) => {
    await storage.readDevice(target);
    // In place of a lost device the host gives its values: those of later steps, maybe.
    return placed.accelerator === accelerator;
  });
}

async function copyCaughtUp(
  { storage, rowSize }: VariableInternals,
  lazy: LazyAverage,
  rows: Uint32Array | undefined,
  out: TypedArray,
  copy: Copy,
): Promise<boolean> {
  const variable = lazy.variable[variableInternals].storage;
  const average = lazy.average[variableInternals].storage;
  const isAverage = storage === average;
  const other = isAverage ? variable : average;
  other.hold();
  try {
    // All of it is asked for in this turn: no step comes in between.
    const clocks = clocksOf(lazy, rowSize, rows);
    const more = viewOf(storage.dtype, new ArrayBuffer(out.byteLength), 0, out.length);
    const copied = await Promise.all([copy(storage, out), copy(other, more)]);
    if (copied.includes(false)) return false;
    const [e, w] = isAverage ? [out, more] : [more, out];
    const step = Math.max(1, Math.floor(PART / rowSize));
    for (let row = 0, end = out.length / rowSize; row < end; row++) {
      if (row > 0 && row % step === 0) await eventLoopTurn();
      const state = clocks.look(row);
      if (state === CURRENT || (state === AVERAGE_BEHIND && !isAverage)) continue;
      for (let at = row * rowSize; at < (row + 1) * rowSize; at++) out[at] = clocks.caughtUp(e[at]!, w[at]!);
    }
    return true;
  } finally {
    other.letGo();
  }
}

/** How far rows are behind now, copied: steps that come meanwhile do not change it. Rows are counted as they are given. */
function clocksOf(lazy: LazyAverage, rowSize: number, rows: Uint32Array | undefined): LazyRows {
  const { storage } = lazy.variable[variableInternals];
  const { segments, dtype } = storage;
  const elements = segments.reduce((sum, { count }) => sum + count, 0);
  const count = rows?.length ?? elements / rowSize;
  // All segments say the same but of their rows.
  const [first] = segments;
  const block = new Uint32Array(first!.home.arena.memory.buffer, lazy.offset(0));
  const blockWords = LAZY_BLOCK_BYTES / 4 + block[lazyWords.overwrites]!;
  const words = new Uint32Array(2 * Math.ceil((blockWords + count) / 2));
  words.set(block.subarray(0, blockWords));
  words[lazyWords.list] = LAZY_BLOCK_BYTES;
  words[lazyWords.last] = 4 * blockWords;
  const lasts = words.subarray(blockWords);
  for (const [s, segment] of segments.entries()) {
    const from = segment.start / rowSize;
    const length = segment.count / rowSize;
    const memory = segment.home.arena.memory.buffer;
    const [at] = new Uint32Array(memory, lazy.offset(s) + 4 * lazyWords.last, 1);
    const own = new Uint32Array(memory, at, length);
    if (rows === undefined) lasts.set(own, from);
    else {
      for (let i = 0; i < rows.length; i++) {
        const row = rows[i]! - from;
        if (row >= 0 && row < length) lasts[i] = own[row]!;
      }
    }
  }
  const clocks = new LazyRows(dtype);
  clocks.open(words, new Float64Array(words.buffer), 0);
  return clocks;
}
