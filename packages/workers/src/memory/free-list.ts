interface FreeBlock {
  offset: number;
  size: number;
}

/**
 * Address bookkeeping of one arena: first fit over free blocks sorted by address, neighbours merged
 * on release, so that any order of releases gives the space back whole.
 */
export class FreeList {
  readonly #blocks: FreeBlock[] = [];

  /** Offset of `size` free bytes, or -1 when no block is large enough. */
  take(size: number): number {
    for (let i = 0; i < this.#blocks.length; i++) {
      const block = this.#blocks[i]!;
      if (block.size < size) continue;
      const offset = block.offset;
      block.offset += size;
      block.size -= size;
      if (block.size === 0) this.#blocks.splice(i, 1);
      return offset;
    }
    return -1;
  }

  /** Adds bytes, either fresh from a growth of the memory or given back. */
  give(offset: number, size: number): void {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#blocks[middle]!.offset < offset) low = middle + 1;
      else high = middle;
    }
    const before = this.#blocks[low - 1];
    const after = this.#blocks[low];
    const joinsBefore = before !== undefined && before.offset + before.size === offset;
    const joinsAfter = after !== undefined && offset + size === after.offset;
    if (joinsBefore && joinsAfter) {
      before.size += size + after.size;
      this.#blocks.splice(low, 1);
    } else if (joinsBefore) {
      before.size += size;
    } else if (joinsAfter) {
      after.offset = offset;
      after.size += size;
    } else {
      this.#blocks.splice(low, 0, { offset, size });
    }
  }

  /** Bytes of the free block that ends at `end` (0 when the last bytes are in use). */
  tail(end: number): number {
    const last = this.#blocks[this.#blocks.length - 1];
    return last !== undefined && last.offset + last.size === end ? last.size : 0;
  }
}
