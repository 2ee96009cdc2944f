import {
  type Block,
  dtypeInfo,
  MemoryExhaustedError,
  type MemoryPool,
  type SegmentGradient,
  type TypedArray,
  viewOf,
} from "@shardgrad/workers";
import { SplitVariableError } from "../errors/index.js";
import type { CheckedGradient } from "../gradients/gradient.js";
import { variableInternals } from "../variable/internals.js";
import type { StorageSegment } from "../variable/storage.js";
import { writeNumbers } from "../variable/values.js";
import type { Variable } from "../variable/variable.js";

/** Elements copied between two looks at the event loop: about a quarter of a millisecond. */
const CHUNK = 262_144;

/** Yielded where an asynchronous step lets the event loop run. */
export const PAUSE = Symbol("pause");
export type Pause = typeof PAUSE;

/** Gradients of one step in the memories of their variables. */
export class Staging {
  readonly #memory: MemoryPool;
  readonly #blocks: Block[] = [];
  #copied = 0;

  constructor(memory: MemoryPool) {
    this.#memory = memory;
  }

  /**
   * The gradient of each segment as kernels take it. What lies in the right memory already is used as it is,
   * unless `ownCopy` asks for a copy that may be changed.
   */
  *stage(
    gradient: CheckedGradient,
    variable: Variable,
    ownCopy = false,
  ): Generator<Pause, SegmentGradient[]> {
    const result: SegmentGradient[] = [];
    for (const segment of variable[variableInternals].storage.segments) {
      result.push(
        gradient.kind === "dense"
          ? { kind: "dense", offset: yield* this.#dense(gradient.values, variable, segment, ownCopy) }
          : yield* this.#slices(gradient, variable, segment, ownCopy),
      );
    }
    return result;
  }

  /** A view of staged values that belong to a segment. */
  view(variable: Variable, segment: StorageSegment, offset: number, length: number): TypedArray {
    return viewOf(variable.dtype, this.#memory.bufferOf(segment.home.arena), offset, length);
  }

  release(): void {
    for (const block of this.#blocks) block.arena.release(block);
    this.#blocks.length = 0;
  }

  *#dense(
    values: TypedArray | readonly number[],
    variable: Variable,
    segment: StorageSegment,
    ownCopy: boolean,
  ): Generator<Pause, number> {
    const found = ownCopy ? undefined : this.#inPlace(values, segment);
    if (found !== undefined) return found + segment.start * dtypeInfo[variable.dtype].bytes;
    return yield* this.#copy(values, variable, segment, segment.start, segment.count);
  }

  *#slices(
    { indices, values }: Extract<CheckedGradient, { kind: "slices" }>,
    variable: Variable,
    segment: StorageSegment,
    ownCopy: boolean,
  ): Generator<Pause, SegmentGradient> {
    const { rowSize, storage } = variable[variableInternals];
    if (storage.segments.length === 1) {
      const found = ownCopy ? undefined : this.#inPlace(values, segment);
      const offset = found ?? (yield* this.#copy(values, variable, segment, 0, values.length));
      return {
        kind: "slices",
        indices: this.#indices(indices, segment),
        values: offset,
        count: indices.length,
      };
    }
    if (segment.start % Math.max(rowSize, 1) !== 0) {
      throw new SplitVariableError(`A row of ${variable.name} is larger than a memory: use dense gradients.`);
    }
    return yield* this.#slicesOf(indices, values, variable, segment);
  }

  /** The slices of one segment of a split variable, with row numbers counted from its first row. */
  *#slicesOf(
    indices: Uint32Array,
    values: TypedArray | readonly number[],
    variable: Variable,
    segment: StorageSegment,
  ): Generator<Pause, SegmentGradient> {
    const { rowSize } = variable[variableInternals];
    const first = segment.start / rowSize;
    const end = first + segment.count / rowSize;
    const positions: number[] = [];
    indices.forEach((row, position) => {
      if (row >= first && row < end) positions.push(position);
    });
    const rows = Uint32Array.from(positions, (position) => indices[position]! - first);
    const target = this.#allocate(segment, positions.length * rowSize * dtypeInfo[variable.dtype].bytes);
    const view = this.view(variable, segment, target.offset, positions.length * rowSize);
    for (let slice = 0; slice < positions.length; slice++) {
      const from = positions[slice]! * rowSize;
      copyInto(variable, view.subarray(slice * rowSize, (slice + 1) * rowSize), values, from);
      if (this.#chunkDone(rowSize)) yield PAUSE;
    }
    return {
      kind: "slices",
      indices: this.#indices(rows, segment),
      values: target.offset,
      count: rows.length,
    };
  }

  *#copy(
    values: TypedArray | readonly number[],
    variable: Variable,
    segment: StorageSegment,
    start: number,
    count: number,
  ): Generator<Pause, number> {
    const block = this.#allocate(segment, count * dtypeInfo[variable.dtype].bytes);
    const view = this.view(variable, segment, block.offset, count);
    for (let at = 0; at < count; at += CHUNK) {
      const length = Math.min(CHUNK, count - at);
      copyInto(variable, view.subarray(at, at + length), values, start + at);
      if (this.#chunkDone(length)) yield PAUSE;
    }
    return block.offset;
  }

  #indices(indices: Uint32Array, segment: StorageSegment): number {
    const block = this.#allocate(segment, indices.byteLength);
    new Uint32Array(this.#memory.bufferOf(block.arena), block.offset, indices.length).set(indices);
    return block.offset;
  }

  /** Byte offset of values that `runtime.allocate` put into the segment's memory. */
  #inPlace(values: TypedArray | readonly number[], { home }: StorageSegment): number | undefined {
    if (!ArrayBuffer.isView(values) || this.#memory.arenaOf(values) !== home.arena) return undefined;
    return home.arena.lent.contains(values.byteOffset, values.byteLength) ? values.byteOffset : undefined;
  }

  #allocate({ home }: StorageSegment, bytes: number): Block {
    const block = home.arena.allocate(bytes, false);
    if (block === undefined) throw new MemoryExhaustedError(bytes);
    this.#blocks.push(block);
    return block;
  }

  /** Whether enough was copied since the last pause. */
  #chunkDone(elements: number): boolean {
    this.#copied += elements;
    if (this.#copied < CHUNK) return false;
    this.#copied = 0;
    return true;
  }
}

export function onlySegment(variable: Variable): StorageSegment {
  const { segments } = variable[variableInternals].storage;
  if (segments.length === 1) return segments[0]!;
  throw new SplitVariableError(
    `${variable.name} lies in ${segments.length} memories; an \`updateStep\` of your own needs it in one.`,
  );
}

function copyInto(
  { dtype }: Variable,
  target: TypedArray,
  values: TypedArray | readonly number[],
  from: number,
): void {
  if (ArrayBuffer.isView(values)) target.set(values.subarray(from, from + target.length));
  else writeNumbers(dtype, target, values, from);
}
