import {
  type AveragePlan,
  type Block,
  dtypeInfo,
  type Home,
  MemoryExhaustedError,
  type MemoryPool,
  type SegmentGradient,
  type SegmentPlan,
  type UpdatePlan,
} from "@shardgrad/workers";
import type { SavedGradient } from "./journal.js";
import { CURRENT_BLOCK_BYTES, currentBlock } from "./lazy-replay.js";

/** Memory for the gradients of one step that is done again. */
export class ReplayRoom {
  readonly #memory: MemoryPool;
  readonly #moves: boolean;
  readonly #blocks: Block[] = [];
  readonly #homes: { readonly home: Home; readonly block: Block }[] = [];
  /** Arrays that were moved to where there was room, and where they belong. */
  readonly #moved: { readonly from: Uint8Array; readonly to: Uint8Array }[] = [];

  /** @param elsewhere - segments are moved to memories with room, instead of taking room in their own */
  constructor(memory: MemoryPool, elsewhere: boolean) {
    this.#memory = memory;
    this.#moves = elsewhere;
  }

  /**
   * The segment with its gradient beside it.
   * @throws MemoryExhaustedError
   */
  restore(update: UpdatePlan, segment: SegmentPlan, saved: SavedGradient): SegmentPlan {
    if (this.#moves) return this.#elsewhere(update, segment, saved);
    return { ...segment, gradient: this.#beside(segment.memory, saved) };
  }

  /**
   * The segment with a lazy block of its own, by which all of its rows are up to date.
   * @throws MemoryExhaustedError
   */
  withCurrentRows(update: UpdatePlan, segment: SegmentPlan, average: AveragePlan): SegmentPlan {
    const { memory, count } = segment;
    const room = this.#allocate(memory, CURRENT_BLOCK_BYTES + (4 * count) / update.rowSize);
    const lasts = room.offset + CURRENT_BLOCK_BYTES;
    const block = currentBlock(update, average, { average: segment.average, lasts });
    this.#bytes(memory, room.offset, CURRENT_BLOCK_BYTES).set(block);
    return { ...segment, lazy: room.offset };
  }

  /** Bytes in a memory with room. @throws MemoryExhaustedError */
  put(bytes: Uint8Array): { readonly memory: number; readonly offset: number } {
    const home = this.#memory.reserve(bytes.byteLength);
    const block = this.#memory.allocateAt(home, bytes.byteLength, false);
    this.#homes.push({ home, block });
    this.#bytes(home.arena.id, block.offset, bytes.byteLength).set(bytes);
    return { memory: home.arena.id, offset: block.offset };
  }

  /** Copies moved arrays back, when the step is done. */
  bringBack(): void {
    for (const { from, to } of this.#moved) to.set(from);
  }

  release(): void {
    for (const block of this.#blocks) block.arena.release(block);
    for (const { home, block } of this.#homes) this.#memory.releaseAt(home, block);
  }

  #beside(memory: number, saved: SavedGradient): SegmentGradient {
    const put = (bytes: Uint8Array): number => {
      const block = this.#allocate(memory, bytes.byteLength);
      this.#bytes(memory, block.offset, bytes.byteLength).set(bytes);
      return block.offset;
    };
    return gradientOf(saved, put);
  }

  #allocate(memory: number, bytes: number): Block {
    const block = this.#memory.arenas[memory]!.allocate(bytes, false);
    if (block === undefined) throw new MemoryExhaustedError(bytes);
    this.#blocks.push(block);
    return block;
  }

  #elsewhere(
    { dtype, rowwise, rowSize }: UpdatePlan,
    { count, memory, versionMask, ...segment }: SegmentPlan,
    saved: SavedGradient,
  ): SegmentPlan {
    const bytes = count * dtypeInfo[dtype].bytes;
    const forLazy = segment.lazy === 0 ? 0 : CURRENT_BLOCK_BYTES + (4 * count) / rowSize;
    const home = this.#memory.reserve(Math.max(bytes, saved.values.byteLength), forLazy);
    const put = (values: Uint8Array): number => {
      const block = this.#memory.allocateAt(home, values.byteLength, false);
      this.#homes.push({ home, block });
      this.#bytes(home.arena.id, block.offset, values.byteLength).set(values);
      return block.offset;
    };
    const move = (offset: number, length: number): number => {
      const to = this.#bytes(memory, offset, length);
      const at = put(to);
      this.#moved.push({ from: this.#bytes(home.arena.id, at, length), to });
      return at;
    };
    return {
      ...segment,
      count,
      memory: home.arena.id,
      variable: move(segment.variable, bytes),
      accumulator: move(segment.accumulator, rowwise ? bytes / rowSize : bytes),
      average: segment.average === 0 ? 0 : move(segment.average, bytes),
      gradient: gradientOf(saved, put),
      // Readers look at the words that stay where they are: nobody looks at these.
      versions: put(new Uint8Array(4 * (versionMask + 1))),
      versionMask,
    };
  }

  #bytes(memory: number, offset: number, length: number): Uint8Array {
    return bytesAt(this.#memory, memory, offset, length);
  }
}

export function bytesAt(pool: MemoryPool, memory: number, offset: number, length: number): Uint8Array {
  return new Uint8Array(pool.bufferOf(pool.arenas[memory]!), offset, length);
}

function gradientOf(saved: SavedGradient, put: (bytes: Uint8Array) => number): SegmentGradient {
  const values = put(saved.values);
  if (saved.kind === "dense") return { kind: "dense", offset: values };
  return { kind: "slices", indices: put(saved.indices), values, count: saved.count };
}
