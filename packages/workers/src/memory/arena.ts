import { type WasmMemory, wasm } from "../kernels/webassembly.js";
import { FreeList } from "./free-list.js";
import { LentRanges } from "./lent-ranges.js";

export const PAGE = 65_536;
const LINE = 64;
/** The first page belongs to the kernels' own static data. */
const KERNEL_BYTES = PAGE;
/** Growth reserves address space only; pages that nobody touches cost no memory. */
const GROWTH_STEP = 16 << 20;

/**
 * Arrays whose bases are equal modulo a large power of two collide in caches and memory banks (measured:
 * 3.74 against 0.70 ns an element for a step over four arrays), so every block is followed by an odd gap.
 */
function gapAfter(bytes: number): number {
  if (bytes >= 4 << 20) return 65_536 + 4_096 + 256;
  if (bytes >= PAGE) return 4_096 + 256;
  return LINE;
}

/** Bytes that a block takes with its gap. */
export function spaceOf(bytes: number): number {
  return roundUp(Math.max(bytes, 1), LINE) + gapAfter(bytes);
}

/** A block of shared memory inside one arena. `offset` is a byte offset that kernels take as a pointer. */
export interface Block {
  readonly arena: Arena;
  readonly offset: number;
  readonly byteLength: number;
  /** Everything of the block from this byte on was zero when it was handed out. */
  readonly cleanFrom: number;
}

/** One shared WebAssembly memory with allocation, staggering and reuse. */
export class Arena {
  readonly id: number;
  readonly memory: WasmMemory;
  /** Most bytes that blocks can occupy. */
  readonly capacity: number;
  /** Bytes promised to variables and the arrays that must lie beside them. */
  reserved = 0;
  /** Where callers may write gradients. */
  readonly lent = new LentRanges();
  readonly #free = new FreeList();
  readonly #taken = new Map<number, number>();
  #end: number;
  /** Everything at or above was never handed out and is still zero. */
  #highWater: number;

  constructor(id: number, maxBytes: number) {
    const maximum = Math.min(65_536, Math.max(2, Math.floor(maxBytes / PAGE)));
    const initial = Math.min(16, maximum);
    this.id = id;
    this.memory = new wasm.Memory({ initial, maximum, shared: true });
    this.#end = initial * PAGE;
    this.#highWater = KERNEL_BYTES;
    this.capacity = maximum * PAGE - KERNEL_BYTES;
    this.#free.give(KERNEL_BYTES, this.#end - KERNEL_BYTES);
  }

  /** Bytes to which the memory can grow: all of them are reserved in the address space. */
  get maxByteLength(): number {
    return this.capacity + KERNEL_BYTES;
  }

  /** Bytes of the memory as grown so far. */
  get byteLength(): number {
    return this.#end;
  }

  /**
   * Bytes at a 64-byte boundary, or undefined when the arena is full.
   * @param zero - whether they are zeroed, or how many of them at the beginning
   */
  allocate(byteLength: number, zero: boolean | number = true): Block | undefined {
    const size = spaceOf(byteLength);
    let offset = this.#free.take(size);
    if (offset < 0) {
      if (!this.#grow(size)) return undefined;
      offset = this.#free.take(size);
    }
    this.#taken.set(offset, size);
    const used = Math.min(size, Math.max(0, this.#highWater - offset));
    const zeroed = zero === true ? used : Math.min(used, Number(zero));
    if (zeroed > 0) new Uint8Array(this.memory.buffer, offset, zeroed).fill(0);
    this.#highWater = Math.max(this.#highWater, offset + size);
    return { arena: this, offset, byteLength, cleanFrom: zeroed === used ? 0 : used };
  }

  release(block: Block): void {
    const size = this.#taken.get(block.offset);
    if (size === undefined) return;
    this.#taken.delete(block.offset);
    this.#free.give(block.offset, size);
  }

  #grow(size: number): boolean {
    const limit = this.maxByteLength;
    const needed = size - this.#free.tail(this.#end);
    if (this.#end + needed > limit) return false;
    const bytes = Math.min(roundUp(Math.max(needed, GROWTH_STEP), PAGE), limit - this.#end);
    try {
      this.memory.grow(bytes / PAGE);
    } catch {
      return false;
    }
    this.#free.give(this.#end, bytes);
    this.#end += bytes;
    return true;
  }
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
