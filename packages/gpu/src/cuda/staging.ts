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

/** Where a download arrives: in pinned memory where that is possible, as the device's copies wait for nobody there. */
export interface Landing {
  /** What is copied at a time, from the first byte to the last. */
  readonly parts: readonly Uint8Array[];
  /** Call when the bytes are there: fills the target, frees what was taken. */
  arrived(): void;
  /** Call when they will not come. */
  given(): void;
}

const LANDING_BYTES = 2 ** 18;
const MOST_LANDINGS = 16;

/** Small downloads go through pinned blocks of this class; memory for large ones is pinned for their time. */
export class DownloadStaging {
  readonly #driver: CudaDriver;
  readonly #pinned: PinnedMemory;
  readonly #idle: Uint8Array[] = [];
  #made = 0;

  constructor(driver: CudaDriver, pinned: PinnedMemory) {
    this.#driver = driver;
    this.#pinned = pinned;
  }

  landing(target: Uint8Array): Landing {
    const small = target.length <= LANDING_BYTES ? this.#take() : undefined;
    if (small !== undefined) {
      const bytes = small.subarray(0, target.length);
      const given = () => void this.#idle.push(small);
      const arrived = () => {
        target.set(bytes);
        given();
      };
      return { parts: [bytes], arrived, given };
    }
    const parts: Uint8Array[] = [];
    const registered: number[] = [];
    for (const { offset, bytes, pinned } of this.#pinned.pieces(target)) {
      const part = target.subarray(offset, offset + bytes);
      parts.push(part);
      const address = this.#driver.addressOf(part);
      if (pinned || this.#driver.try("cuMemHostRegister_v2", address, bytes, 0) !== 0) continue;
      registered.push(address);
    }
    const given = () => {
      for (const address of registered) this.#driver.try("cuMemHostUnregister", address);
    };
    return { parts, arrived: given, given };
  }

  #take(): Uint8Array | undefined {
    const idle = this.#idle.pop();
    if (idle !== undefined || this.#made === MOST_LANDINGS) return idle;
    this.#made++;
    return this.#pinned.allocate(LANDING_BYTES);
  }
}
