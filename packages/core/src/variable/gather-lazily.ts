import { dtypeInfo, type TypedArray, viewOf } from "@shardgrad/workers";
import type { PlacedDevice } from "../placement/placed-device.js";
import { runtimeInternals } from "../runtime/internals.js";
import { behindRows, factorsOf } from "./behind-rows.js";
import { type VariableInternals, variableInternals } from "./internals.js";
import type { LazyAverage } from "./lazy-average.js";
import { roundings } from "./lazy-rows.js";

/** A row of a table that is behind, and its place among those that were asked for. */
interface Behind {
  readonly position: number;
  readonly p: number;
  readonly q: number;
}

/**
 * Copies rows of a table with lazy averages, or of its average, that lives on a device: as a catch-up would leave them.
 * False when they are not there, or not any more: `out` may be partly written.
 */
export async function gatherLazily(
  placed: PlacedDevice,
  { storage, rowSize }: VariableInternals,
  lazy: LazyAverage,
  rows: Uint32Array,
  out: TypedArray,
): Promise<boolean> {
  const { dtype } = storage;
  const variable = lazy.variable[variableInternals].storage;
  const average = lazy.average[variableInternals].storage;
  const isAverage = storage === average;
  const gathered = (
    from: typeof storage,
    numbers: Uint32Array,
    { buffer, byteOffset, byteLength }: TypedArray,
  ) => placed.gather(from.segments, rowSize, numbers, new Uint8Array(buffer, byteOffset, byteLength));
  // All of it is asked for in this turn: no step comes in between.
  const behind = [...behindOf(lazy, rows, isAverage)];
  const others = Uint32Array.from(behind, ({ position }) => rows[position]!);
  const length = others.length * rowSize;
  const more = viewOf(dtype, new ArrayBuffer(length * dtypeInfo[dtype].bytes), 0, length);
  const coming = [gathered(storage, rows, out)];
  if (length > 0) coming.push(gathered(isAverage ? variable : average, others, more));
  if ((await Promise.all(coming)).includes(false)) return false;
  const round = roundings[dtype];
  behind.forEach(({ position, p, q }, k) => {
    for (let i = 0; i < rowSize; i++) {
      const at = position * rowSize + i;
      const [own, other] = [out[at]!, more[k * rowSize + i]!];
      const [e, w] = isAverage ? [own, other] : [other, own];
      out[at] = round(round(p * e) + round(q * w));
    }
  });
  return true;
}

/**
 * All rows of a table with lazy averages, or of its average, that is behind and lives on a device, behind the steps that were
 * called before. Nothing is brought up to date by it: what a table is later does not depend on where it was read.
 */
export function readLazily(internals: VariableInternals): Promise<TypedArray | undefined> | undefined {
  const { lazy, storage, rowSize, runtime } = internals;
  const { placed, queue } = runtime[runtimeInternals];
  if (!lazy?.behind || !placed?.isAway(storage.segments)) return undefined;
  return queue.run(async () => {
    const size = storage.segments.reduce((sum, { count }) => sum + count, 0);
    const rows = new Uint32Array(size / rowSize).map((_, row) => row);
    const out = viewOf(storage.dtype, new ArrayBuffer(size * dtypeInfo[storage.dtype].bytes), 0, size);
    storage.hold();
    try {
      return (await gatherLazily(placed, internals, lazy, rows, out)) ? out : undefined;
    } finally {
      storage.letGo();
    }
  });
}

/** The rows whose elements a catch-up would change: of the average all that are behind, of the variable those with an overwrite due. */
function* behindOf(lazy: LazyAverage, rows: Uint32Array, isAverage: boolean): Generator<Behind> {
  const { storage, rowSize } = lazy.variable[variableInternals];
  for (const [s, { start, count, home }] of storage.segments.entries()) {
    const first = start / rowSize;
    const positions = Uint32Array.from(rows.keys()).filter(
      (i) => rows[i]! >= first && rows[i]! < first + count / rowSize,
    );
    const numbers = positions.map((i) => rows[i]! - first);
    const behind = behindRows(storage.dtype, home.arena.memory.buffer, lazy.offset(s), numbers);
    for (const [i, position] of positions.entries()) {
      const factors = factorsOf(behind, i);
      if (factors !== undefined && (isAverage || factors.isDue)) yield { position, ...factors };
    }
  }
}
