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
import { splitSlices } from "./split-slices.js";

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
    const { segments } = variable[variableInternals].storage;
    if (gradient.kind === "slices") {
      if (segments.length > 1) return yield* this.#splitSlices(gradient, variable);
      return [yield* this.#slices(gradient, variable, segments[0]!, ownCopy)];
    }
    const result: SegmentGradient[] = [];
    for (const segment of segments) {
      const offset = yield* this.#dense(gradient.values, variable, segment, ownCopy);
      result.push({ kind: "dense", offset });
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
    const found = ownCopy ? undefined : this.#inPlace(values, segment);
    const offset = found ?? (yield* this.#copy(values, variable, segment, 0, values.length));
    return {
      kind: "slices",
      indices: this.#indices(indices, segment),
      values: offset,
      count: indices.length,
    };
  }

  /** The slices of each segment of a split variable, with row numbers counted from its first row. */
  *#splitSlices(
    { indices, values }: Extract<CheckedGradient, { kind: "slices" }>,
    variable: Variable,
  ): Generator<Pause, SegmentGradient[]> {
    const { rowSize, storage } = variable[variableInternals];
    if (!storage.hasWholeRows(rowSize)) {
      throw new SplitVariableError(`A row of ${variable.name} is larger than a memory: use dense gradients.`);
    }
    const firsts = storage.segments.map(({ start }) => start / Math.max(rowSize, 1));
    const { owners, rows } = splitSlices(indices, firsts);
    const rowBytes = rowSize * dtypeInfo[variable.dtype].bytes;
    const targets: TypedArray[] = [];
    const result = storage.segments.map((segment, i): SegmentGradient => {
      const count = rows[i]!.length;
      const { offset } = this.#allocate(segment, count * rowBytes);
      targets.push(this.view(variable, segment, offset, count * rowSize));
      return { kind: "slices", indices: this.#indices(rows[i]!, segment), values: offset, count };
    });
    // One pass over the values in their order: reading those of one segment after the other would miss the caches at
    // every row.
    const source = typed(variable, values);
    const ends = new Float64Array(targets.length);
    for (let slice = 0, from = 0; slice < owners.length; slice++, from += rowSize) {
      const owner = owners[slice]!;
      targets[owner]!.set(source.subarray(from, from + rowSize), ends[owner]!);
      ends[owner]! += rowSize;
      if (this.#chunkDone(rowSize)) yield PAUSE;
    }
    return result;
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

/** Values of nested arrays as a typed array. */
function typed({ dtype }: Variable, values: TypedArray | readonly number[]): TypedArray {
  if (ArrayBuffer.isView(values)) return values;
  const bytes = new ArrayBuffer(values.length * dtypeInfo[dtype].bytes);
  const array = viewOf(dtype, bytes, 0, values.length);
  writeNumbers(dtype, array, values, 0);
  return array;
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
