import {
  type AllSlices,
  type Arena,
  type Block,
  type DType,
  dtypeInfo,
  MemoryExhaustedError,
  type MemoryPool,
  type SegmentGradient,
  TemporaryBlocks,
  type TypedArray,
  viewOf,
} from "@shardgrad/workers";
import { SplitVariableError } from "../errors/index.js";
import type { CheckedGradient } from "../gradients/gradient.js";
import type { CheckedPair } from "../gradients/pairs.js";
import { variableInternals } from "../variable/internals.js";
import type { StorageSegment } from "../variable/storage.js";
import { writeNumbers } from "../variable/values.js";
import type { Variable } from "../variable/variable.js";
import { asWords, copyInto, type Words, wordsOf } from "./copy-values.js";
import { countSlices, dealSlices, type Finder, finderOf } from "./deal-slices.js";

/** Elements copied between two looks at the event loop: about a quarter of a millisecond. */
const CHUNK = 262_144;

/** What a gradient costs beside its elements, in elements. */
const EACH = 256;

/** Yielded where an asynchronous step lets the event loop run. */
export const PAUSE = Symbol("pause");
export type Pause = typeof PAUSE;

export interface StagingOptions {
  /** Whether the step clips by a norm. */
  readonly byNorm: boolean;
  /** Whether the row kernels of a dtype reach every memory, rather than one each. */
  readonly reachesAll: (dtype: DType) => boolean;
}

/** Gradients of one step in the memories of their variables. */
export class Staging {
  readonly #memory: MemoryPool;
  readonly #options: StagingOptions;
  readonly #blocks = new TemporaryBlocks();
  readonly #releases: (() => void)[] = [];
  #copied = 0;

  constructor(memory: MemoryPool, options: StagingOptions) {
    this.#memory = memory;
    this.#options = options;
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
    if (this.#chunkDone(EACH)) yield PAUSE;
    if (gradient.kind === "slices") return yield* this.#slices(gradient, variable, segments, ownCopy);
    const result: SegmentGradient[] = [];
    for (const segment of segments) {
      const offset = yield* this.#dense(gradient.values, variable, segment, ownCopy);
      result.push({ kind: "dense", offset });
    }
    return result;
  }

  /**
   * The same for the next gradients of a step, as far as they are dense and small, and no pause is due. Steps over many
   * small variables would spend their time on generators otherwise.
   * @param staged - what is staged so far; more is added
   */
  stageSmall(pairs: readonly CheckedPair[], staged: SegmentGradient[][]): void {
    for (let i = staged.length; i < pairs.length; i++) {
      const { gradient, variable } = pairs[i]!;
      const { segments } = variable[variableInternals].storage;
      const [segment] = segments as readonly [StorageSegment];
      const { count } = segment;
      if (gradient.kind !== "dense" || segments.length > 1 || this.#copied + count + EACH > CHUNK) return;
      let offset = this.#inPlace(gradient.values, segment);
      if (offset === undefined) {
        offset = this.#copySmall(gradient.values, variable.dtype, segment.home.arena, count);
        this.#copied += count;
      }
      staged.push([{ kind: "dense", offset }]);
      this.#copied += EACH;
    }
  }

  #copySmall(values: TypedArray | readonly number[], dtype: DType, arena: Arena, count: number): number {
    const { bytes } = dtypeInfo[dtype];
    const offset = this.#blocks.take(arena, count * bytes);
    if (offset < 0) throw new MemoryExhaustedError(count * bytes);
    const whole = this.#memory.wholeOf(arena, dtype);
    if (ArrayBuffer.isView(values)) whole.set(values, offset / bytes);
    else writeNumbers(dtype, whole.subarray(offset / bytes, offset / bytes + count), values);
    return offset;
  }

  /** A view of staged values that belong to a segment. */
  view(variable: Variable, segment: StorageSegment, offset: number, length: number): TypedArray {
    return viewOf(variable.dtype, this.#memory.bufferOf(segment.home.arena), offset, length);
  }

  release(): void {
    this.#blocks.release();
    for (const release of this.#releases) release();
    this.#releases.length = 0;
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
    { indices, values }: CheckedSlices,
    variable: Variable,
    segments: readonly StorageSegment[],
    ownCopy: boolean,
  ): Generator<Pause, SegmentGradient[]> {
    if (segments.length === 1) {
      return [yield* this.#allSlices(indices, values, variable, segments[0]!, ownCopy)];
    }
    const { rowSize, storage } = variable[variableInternals];
    if (!storage.hasWholeRows(rowSize)) {
      throw new SplitVariableError(`A row of ${variable.name} is larger than a memory: use dense gradients.`);
    }
    const finder = finderOf(segments, rowSize);
    const counting = countSlices(indices, finder);
    let next = counting.next();
    for (; !next.done; next = counting.next()) yield PAUSE;
    const counts = next.value;
    const only = counts.indexOf(indices.length);
    if (only >= 0 && indices.length > 0) {
      const first = finder.starts[only]!;
      const all = yield* this.#allSlices(indices, values, variable, segments[only]!, ownCopy, first);
      return segments.map((_, s) => (s === only ? all : noSlices));
    }
    const reachesAll = this.#options.reachesAll(variable.dtype);
    const all =
      reachesAll || this.#options.byNorm
        ? yield* this.#together(indices, values, variable, segments, reachesAll)
        : undefined;
    if (reachesAll) {
      return segments.map((_, s) => ({
        kind: "slices",
        indices: 0,
        values: 0,
        count: counts[s]!,
        all: all!,
      }));
    }
    const dealt = yield* this.#deal(indices, values, variable, segments, finder, counts);
    return all === undefined ? dealt : dealt.map((gradient) => ({ ...gradient, all }) as SegmentGradient);
  }

  /** All slices in one memory: where they are, if that is one of the runtime's with room for their indices. */
  *#together(
    indices: Uint32Array,
    values: TypedArray | readonly number[],
    variable: Variable,
    [first]: readonly StorageSegment[],
    withIndices: boolean,
  ): Generator<Pause, AllSlices> {
    const count = indices.length;
    const own = this.#lentArena(values);
    if (own !== undefined) {
      const { byteOffset } = values as TypedArray;
      if (!withIndices) return { memory: own.id, values: byteOffset, count };
      const block = this.#tryAllocate(own, indices.byteLength);
      if (block !== undefined) {
        this.#copyIndices(indices, block);
        return { memory: own.id, values: byteOffset, count, indices: block.offset };
      }
    }
    const { bytes } = dtypeInfo[variable.dtype];
    // Values that are not whole words end before the indices begin.
    const valueBytes = 4 * Math.ceil((values.length * bytes) / 4);
    const block = this.#allocateAnywhere(
      valueBytes + (withIndices ? indices.byteLength : 0),
      first!.home.arena,
    );
    const view = viewOf(variable.dtype, this.#memory.bufferOf(block.arena), block.offset, values.length);
    yield* this.#copyInParts(values, variable, view, 0);
    const all = { memory: block.arena.id, values: block.offset, count };
    if (!withIndices) return all;
    const offset = block.offset + valueBytes;
    this.#copyIndices(indices, { ...block, offset });
    return { ...all, indices: offset };
  }

  #copyIndices(indices: Uint32Array, { arena, offset }: Block): void {
    new Uint32Array(this.#memory.bufferOf(arena), offset, indices.length).set(indices);
  }

  /** Copies slices into the memories of the segments that have their rows. */
  *#deal(
    indices: Uint32Array,
    values: TypedArray | readonly number[],
    variable: Variable,
    segments: readonly StorageSegment[],
    finder: Finder,
    counts: Uint32Array,
  ): Generator<Pause, SegmentGradient[]> {
    const { rowSize } = variable[variableInternals];
    const deal = { rows: [] as Uint32Array[], values: [] as Words[], dealt: new Uint32Array(counts.length) };
    const result = segments.map((segment, s): SegmentGradient => {
      const count = counts[s]!;
      if (count === 0) {
        deal.rows.push(noRows);
        deal.values.push(asWords(this.view(variable, segment, 0, 0)));
        return noSlices;
      }
      const rows = this.#allocate(segment, 4 * count);
      const copies = this.#allocate(segment, count * rowSize * dtypeInfo[variable.dtype].bytes);
      deal.rows.push(new Uint32Array(this.#memory.bufferOf(rows.arena), rows.offset, count));
      deal.values.push(asWords(this.view(variable, segment, copies.offset, count * rowSize)));
      return { kind: "slices", indices: rows.offset, values: copies.offset, count };
    });
    const source = wordsOf(values, variable);
    const width = indices.length === 0 ? 0 : source.length / indices.length;
    const batch = Math.max(1, Math.floor(CHUNK / rowSize));
    for (let from = 0; from < indices.length; from += batch) {
      const to = Math.min(from + batch, indices.length);
      dealSlices(indices, source, from, to, width, finder, deal);
      if (this.#chunkDone((to - from) * rowSize)) yield PAUSE;
    }
    return result;
  }

  /** All slices of a step, whose rows lie in one segment that begins with the row `first`. */
  *#allSlices(
    indices: Uint32Array,
    values: TypedArray | readonly number[],
    variable: Variable,
    segment: StorageSegment,
    ownCopy: boolean,
    first = 0,
  ): Generator<Pause, SegmentGradient> {
    const found = ownCopy ? undefined : this.#inPlace(values, segment);
    const offset = found ?? (yield* this.#copy(values, variable, segment, 0, values.length));
    const block = this.#allocate(segment, indices.byteLength);
    const local = new Uint32Array(this.#memory.bufferOf(block.arena), block.offset, indices.length);
    local.set(indices);
    if (first > 0) for (let i = 0; i < local.length; i++) local[i]! -= first;
    return { kind: "slices", indices: block.offset, values: offset, count: indices.length };
  }

  *#copy(
    values: TypedArray | readonly number[],
    variable: Variable,
    segment: StorageSegment,
    start: number,
    count: number,
  ): Generator<Pause, number> {
    const block = this.#allocate(segment, count * dtypeInfo[variable.dtype].bytes);
    yield* this.#copyInParts(values, variable, this.view(variable, segment, block.offset, count), start);
    return block.offset;
  }

  *#copyInParts(
    values: TypedArray | readonly number[],
    variable: Variable,
    target: TypedArray,
    start: number,
  ): Generator<Pause, void> {
    for (let at = 0; at < target.length; at += CHUNK) {
      const length = Math.min(CHUNK, target.length - at);
      copyInto(variable, target.subarray(at, at + length), values, start + at);
      if (this.#chunkDone(length)) yield PAUSE;
    }
  }

  /** Byte offset of values that `runtime.allocate` put into the segment's memory. */
  #inPlace(values: TypedArray | readonly number[], { home }: StorageSegment): number | undefined {
    return this.#lentArena(values) === home.arena ? (values as TypedArray).byteOffset : undefined;
  }

  /** The memory that holds values which `runtime.allocate` put there. */
  #lentArena(values: TypedArray | readonly number[]): Arena | undefined {
    const arena = ArrayBuffer.isView(values) ? this.#memory.arenaOf(values) : undefined;
    const { byteOffset, byteLength } = values as TypedArray;
    return arena?.lent.contains(byteOffset, byteLength) === true ? arena : undefined;
  }

  #allocate({ home }: StorageSegment, bytes: number): Block {
    const block = this.#tryAllocate(home.arena, bytes);
    if (block === undefined) throw new MemoryExhaustedError(bytes);
    return block;
  }

  #tryAllocate(arena: Arena, bytes: number): Block | undefined {
    return this.#blocks.takeBlock(arena, bytes);
  }

  /** In the `first` memory if it has room, or else where there is some, in a new one at last. */
  #allocateAnywhere(bytes: number, first: Arena): Block {
    const there = this.#tryAllocate(first, bytes);
    if (there !== undefined) return there;
    const { block, release } = this.#memory.lend(bytes);
    this.#releases.push(release);
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

type CheckedSlices = Extract<CheckedGradient, { kind: "slices" }>;

const noRows = new Uint32Array(0);
const noSlices: SegmentGradient = { kind: "slices", indices: 0, values: 0, count: 0 };
