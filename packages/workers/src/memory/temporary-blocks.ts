import type { Arena, Block } from "./arena.js";

/** Up to so many bytes are cut from blocks of `SLAB` bytes, where there is room for one; less of each in small memories. */
const SMALL = 4096;
const SLAB = 65_536;
/** What is left of a block that is cut must not be missed: a small share of what a memory has to spare beside promises. */
const SHARE = 1 / 64;
/** So many small ones get blocks of their own first: most steps need no more. */
const ALONE = 4;
/** Cuts begin at multiples of it: what follows each other here can go to a device in one copy. */
export const CUT = 256;

/**
 * Memory of one step, given back together. Many small blocks cost little: an arena's own bookkeeping is for blocks that
 * come and go by themselves.
 */
export class TemporaryBlocks {
  readonly #blocks: Block[] = [];
  #small = 0;
  /** The memory that is cut now, where the next cut begins, and where the block ends. */
  #arena: Arena | undefined;
  #at = 0;
  #end = 0;

  /** Bytes of a block to cut in a memory. */
  static #slabOf({ capacity }: Arena): number {
    return Math.min(SLAB, Math.floor((capacity * SHARE) / CUT) * CUT);
  }

  /** Byte offset of so many bytes, which are not zeroed; -1 when the memory is full. */
  take(arena: Arena, bytes: number): number {
    if (bytes <= SMALL && this.#mayCut(arena, bytes)) {
      const at = this.#at;
      this.#at = at + Math.ceil(bytes / CUT) * CUT;
      return at;
    }
    return this.takeBlock(arena, bytes)?.offset ?? -1;
  }

  /** A block by itself; undefined when the memory is full. */
  takeBlock(arena: Arena, bytes: number): Block | undefined {
    const block = arena.allocate(bytes, false);
    if (block !== undefined) this.#blocks.push(block);
    return block;
  }

  release(): void {
    for (const block of this.#blocks) block.arena.release(block);
    this.#blocks.length = 0;
    this.#arena = undefined;
    this.#small = 0;
  }

  /** Whether the block that is cut has room, or a new one. */
  #mayCut(arena: Arena, bytes: number): boolean {
    if (arena === this.#arena && this.#at + bytes <= this.#end) return true;
    if (this.#small++ < ALONE) return false;
    const slab = TemporaryBlocks.#slabOf(arena);
    // Else little would be left of it for others.
    const block = bytes <= slab / 4 ? this.takeBlock(arena, slab) : undefined;
    if (block === undefined) return false;
    this.#arena = arena;
    this.#at = block.offset;
    this.#end = block.offset + slab;
    return true;
  }
}
