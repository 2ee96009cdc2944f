import { type DType, dtypeInfo, type TypedArray } from "@shardgrad/workers";
import { ArgumentError, DtypeError, ShapeError } from "../errors/index.js";
import { checkIndices } from "../gradients/gradient.js";
import type { RowIndices } from "../gradients/indexed-slices.js";
import type { PlacedDevice } from "../placement/placed-device.js";
import { eventLoopTurn } from "../runtime/event-loop-share.js";
import { runtimeInternals } from "../runtime/internals.js";
import { gatherLazily } from "./gather-lazily.js";
import type { VariableInternals } from "./internals.js";
import { type Reader, type RowLayout, type RowTarget, targetOf } from "./row-layout.js";
import { bitsOf, dtypeOfArray, type NestedArray, nest, readNumbers, rowSizeOf } from "./values.js";

/** What is read from, by its owner or by another thread. */
export interface Readable {
  readonly shape: readonly number[];
  /** Rows now. */
  readonly rows: number;
  readonly layout: RowLayout;
  readonly reader: Reader;
  /** Whether a segment lies in a buffer. */
  liesIn(segment: number, buffer: ArrayBufferLike): boolean;
}

/** A gather with everything checked. */
export interface Gather {
  /** A private copy: a thread that changes the caller's array later cannot reach rows that do not exist. */
  readonly indices: Uint32Array;
  /** What is handed back: the caller's array, or a new one. */
  readonly out: TypedArray;
  readonly target: RowTarget;
}

/** @throws ShapeError, IndexError, DtypeError, ArgumentError; nothing is written before */
export function checkGather(indices: RowIndices, out: TypedArray | undefined, from: Readable): Gather {
  const { layout, rows } = from;
  const { rowSize, dtype, name } = layout;
  if (from.shape.length === 0) {
    throw new ShapeError({
      argument: "variable",
      received: name,
      expected: "a variable with rows, no scalar",
    });
  }
  const checked = checkIndices(indices, rows, "indices");
  const length = checked.length * rowSize;
  const result = out === undefined ? newArray(dtype, length) : checkOut(out, length, from);
  return { indices: checked, out: result, target: targetOf(layout, bitsOf(result)) };
}

function checkOut(out: unknown, length: number, from: Readable): TypedArray {
  const { dtype } = from.layout;
  if (!ArrayBuffer.isView(out) || dtypeOfArray(out) !== dtype) {
    const expected = `a ${newArray(dtype, 0).constructor.name}, as the variable is ${dtype}`;
    throw new DtypeError({ argument: "out", received: out, expected });
  }
  const array = out as unknown as TypedArray;
  if (array.length !== length) {
    const expected = `${length} elements, not ${array.length}`;
    throw new ShapeError({ argument: "out", received: out, expected });
  }
  const overlaps = from.layout.segments.some(({ offset, capacity }, i) => {
    const end = offset + capacity * dtypeInfo[dtype].bytes;
    const { buffer, byteOffset, byteLength } = array;
    return byteOffset < end && byteOffset + byteLength > offset && from.liesIn(i, buffer);
  });
  if (!overlaps) return array;
  const expected = "an array outside the variable's own memory";
  throw new ArgumentError({ argument: "out", received: out, expected });
}

function newArray(dtype: DType, length: number): TypedArray {
  if (dtype === "float32") return new Float32Array(length);
  return dtype === "float64" ? new Float64Array(length) : new Uint16Array(length);
}

/** Elements copied between two looks at the event loop: some tenths of a millisecond. */
const CHUNK = 65_536;

/**
 * Copies the rows between two steps, in parts with turns of the event loop between.
 * @param read - the variable as it is when its turn comes; throws when it is gone
 */
export function gatherInQueue(
  { indices, target, out }: Gather,
  internals: VariableInternals,
  read: () => Readable,
): Promise<void> {
  const { runtime, rowSize, storage } = internals;
  const { queue, share, placed } = runtime[runtimeInternals];
  const step = rowsOfChunk(rowSize);
  return queue.run(async () => {
    const { reader } = read();
    reader.checkRows(indices);
    storage.hold();
    try {
      await share.turn();
      for (let at = 0; at < indices.length; at += step) {
        if (at > 0) await eventLoopTurn();
        // Again each time: a synchronous step may have been done there meanwhile.
        while (placed?.isAway(storage.segments))
          if (await gatherFromDevice(placed, internals, indices, out)) return;
        reader.gather(indices, at, Math.min(at + step, indices.length), target);
      }
    } finally {
      storage.letGo();
    }
  });
}

/** False when the current values are not there, or not any more. */
function gatherFromDevice(
  placed: PlacedDevice,
  internals: VariableInternals,
  rows: Uint32Array,
  out: TypedArray,
): Promise<boolean> {
  const { lazy, storage, rowSize } = internals;
  if (lazy?.behind) return gatherLazily(placed, internals, lazy, rows, out);
  const { buffer, byteOffset, byteLength } = out;
  return placed.gather(storage.segments, rowSize, rows, new Uint8Array(buffer, byteOffset, byteLength));
}

/** All values as numbers, nested by shape. */
export function readAll({ shape, layout, reader }: Readable): NestedArray {
  const { rowSize, dtype } = layout;
  const rows = shape.length === 0 ? 1 : shape[0]!;
  const step = rowsOfChunk(rowSize);
  const flat: number[] = [];
  if (rowSizeOf(shape) > 0) {
    for (let row = 0; row < rows; row += step) {
      const count = Math.min(step, rows - row);
      const values = newArray(dtype, count * rowSize);
      reader.readRows(row, count, targetOf(layout, values));
      for (const value of readNumbers(dtype, values)) flat.push(value);
    }
  }
  return nest(flat, shape);
}

/** Rows that are not many elements; short ones cost as much as 16 elements. */
function rowsOfChunk(rowSize: number): number {
  return Math.max(1, Math.floor(CHUNK / Math.max(rowSize, 16)));
}
