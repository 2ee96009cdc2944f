import type { CudaDriver } from "./driver.js";
import type { Events } from "./events.js";
import type { PinnedMemory } from "./pinned.js";

const BLOCK_BYTES = 2 ** 22;
const BLOCKS = 4;

interface StagingBlock {
  readonly bytes: Uint8Array;
  used: number;
  /** Recorded after the last copy out of the block. */
  event: number | undefined;
}

/**
 * Pinned blocks through which uploads go, one after another: a copy takes its bytes at once, the device fetches them
 * later. A block is used again when the device has fetched all of it, which the caller may have to wait for.
 */
export class UploadStaging {
  readonly #driver: CudaDriver;
  readonly #events: Events;
  readonly #pinned: PinnedMemory;
  readonly #stream: number;
  readonly #blocks: StagingBlock[] = [];
  #current = 0;

  constructor(driver: CudaDriver, events: Events, pinned: PinnedMemory, stream: number) {
    this.#driver = driver;
    this.#events = events;
    this.#pinned = pinned;
    this.#stream = stream;
  }

  /** Enqueues copies of all bytes to the device address. */
  upload(address: number, source: Uint8Array): void {
    for (let at = 0; at < source.length; ) {
      const block = this.#block();
      const length = Math.min(source.length - at, BLOCK_BYTES - block.used);
      const part = block.bytes.subarray(block.used, block.used + length);
      part.set(source.subarray(at, at + length));
      this.#driver.call("cuMemcpyHtoDAsync_v2", address + at, part, length, this.#stream);
      // The next part begins at a multiple of 16 bytes.
      block.used = Math.min((block.used + length + 15) & ~15, BLOCK_BYTES);
      at += length;
    }
  }

  /** The current block, with room. */
  #block(): StagingBlock {
    const current = this.#blocks[this.#current];
    if (current !== undefined && current.used < BLOCK_BYTES) return current;
    if (current !== undefined) {
      current.event ??= this.#events.take();
      this.#driver.call("cuEventRecord", current.event, this.#stream);
      this.#current = (this.#current + 1) % BLOCKS;
    }
    const next = this.#blocks[this.#current];
    if (next === undefined) return this.#add();
    if (next.event !== undefined) this.#driver.call("cuEventSynchronize", next.event);
    next.used = 0;
    return next;
  }

  #add(): StagingBlock {
    const block = { bytes: this.#pinned.allocate(BLOCK_BYTES), used: 0, event: undefined };
    this.#blocks[this.#current] = block;
    return block;
  }
}
