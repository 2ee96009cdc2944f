import { type DType, dtypeInfo, type TypedArray, type WasmMemory } from "@shardgrad/workers";
import { type UnitBytes, type Units, unitOf, unitsOf } from "./copy-rows.js";
import type { SegmentPlace } from "./segment-tables.js";

/** Where a segment of a variable lies, for a thread that reads it. Plain data, which can be cloned. */
export interface RowSegment {
  readonly memory: WasmMemory;
  /** First element of the segment within the variable. */
  readonly start: number;
  readonly count: number;
  /** Elements that it has room for; all but the last segment are full. */
  readonly capacity: number;
  /** Byte offset of its elements. */
  readonly offset: number;
  /** The same of the variable that a slot stands beside. */
  readonly modelOffset: number;
  /** Byte offset of its version words, and their number less one. */
  readonly versions: number;
  readonly mask: number;
  readonly place: SegmentPlace;
}

export interface RowLayout {
  readonly name: string;
  readonly dtype: DType;
  readonly rowSize: number;
  /** Rows of a block that shares a version word, as a power of two. */
  readonly shift: number;
  readonly segments: readonly RowSegment[];
}

/** Where rows go: one after another from the start of an array of the dtype. */
export interface RowTarget {
  readonly values: TypedArray;
  readonly unit: UnitBytes;
  readonly units: Units;
}

/** What copies rows, each as it was at one moment. */
export interface Reader {
  /** @throws DisposedVariableError; IndexError; StateError for a row in memory that this reader does not know; so do all */
  checkRows(indices: Uint32Array): void;
  /** Copies rows `indices[from]` to `indices[to - 1]` to the same places of the target. */
  gather(indices: Uint32Array, from: number, to: number, target: RowTarget): void;
  /** Copies `count` rows from `first` on to the start of the target. */
  readRows(first: number, count: number, target: RowTarget): void;
}

export function rowBytesOf({ rowSize, dtype }: RowLayout): number {
  return rowSize * dtypeInfo[dtype].bytes;
}

export function targetOf(layout: RowLayout, values: TypedArray): RowTarget {
  const { buffer, byteOffset, byteLength } = values;
  const unit = unitOf(rowBytesOf(layout), byteOffset);
  return { values, unit, units: unitsOf(unit, buffer, byteOffset, byteLength) };
}
