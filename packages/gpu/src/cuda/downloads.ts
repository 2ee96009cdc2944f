import { setImmediate } from "node:timers/promises";
import type { CudaBuffer } from "./memory.js";
import type { PinnedMemory } from "./pinned.js";

/** What downloads use of their back end. All of it throws, or rejects with, DeviceLostError. */
export interface DownloadQueue {
  /** Enqueues a copy out of a buffer behind the launches so far; the event behind it. */
  enqueue(buffer: CudaBuffer, into: Uint8Array, address: number): number;
  /** Resolves when what is before an event has ended; the event is gone then. */
  ended(event: number): Promise<void>;
}

interface Download {
  readonly buffer: CudaBuffer;
  readonly address: number;
  readonly target: Uint8Array;
  /** Bytes that were asked for. */
  asked: number;
  /** Bytes that have not arrived. */
  missing: number;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** Bytes that were asked for, on their way. */
interface Part {
  readonly download: Download;
  readonly at: number;
  readonly bytes: Uint8Array;
  readonly event: number;
  /** What they are a part of; none: of the target. */
  readonly block: Block | undefined;
}

/** Pinned memory. Parts share it until all of them have arrived. */
interface Block {
  readonly bytes: Uint8Array;
  used: number;
  coming: number;
}

/** What is copied out of a block between two turns of the event loop: some tenths of a millisecond. */
const BLOCK_BYTES = 2 ** 20;
const BLOCKS = 8;
const STEP = 256;

/**
 * Downloads go through pinned blocks, as the device's copies wait for nobody there: large ones a part at a time, with turns
 * of the event loop between. Pinning their targets would hold it up, and costs more than copying.
 *
 * Invariant: a part of a buffer that was not yet asked for is as it was when its download began. Whoever changes or frees
 * buffers calls `flush` before.
 */
export class Downloads {
  readonly #pinned: PinnedMemory;
  readonly #queue: DownloadQueue;
  readonly #blocks: Block[] = [];
  /** Not all of them asked for yet, in the order in which they began. */
  readonly #begun: Download[] = [];
  /** In the order in which they were asked for, which is that of their arrival. */
  readonly #coming: Part[] = [];
  #receiving: Promise<void> | undefined;

  constructor(pinned: PinnedMemory, queue: DownloadQueue) {
    this.#pinned = pinned;
    this.#queue = queue;
  }

  /** Resolves when a target is filled with what a buffer holds after the launches so far. */
  download(buffer: CudaBuffer, address: number, target: Uint8Array): Promise<void> {
    return new Promise((done, failed) => {
      this.#begun.push({ buffer, address, target, asked: 0, missing: target.length, done, failed });
      this.#receiving ??= this.#receive();
      this.#ask();
    });
  }

  /** Asks for all that is left of buffers, at once: holds up the caller. Without a device their downloads fail. */
  flush(buffers: readonly CudaBuffer[]): void {
    for (const download of [...this.#begun]) {
      if (!buffers.includes(download.buffer)) continue;
      try {
        const rest = download.target.subarray(download.asked);
        for (const { offset, bytes } of this.#pinned.pieces(rest)) {
          this.#askFor(download, rest.subarray(offset, offset + bytes), undefined);
        }
        this.#begun.splice(this.#begun.indexOf(download), 1);
      } catch (error) {
        this.#fail(error);
      }
    }
  }

  /** Resolves when no download is under way. */
  async ended(): Promise<void> {
    await this.#receiving;
  }

  /** Asks for as much as there is room for. Does not throw: without a device all downloads fail. */
  #ask(): void {
    try {
      for (let next = this.#begun[0]; next !== undefined; next = this.#begun[0]) {
        while (next.asked < next.target.length) {
          const length = Math.min(BLOCK_BYTES, next.target.length - next.asked);
          const block = this.#blockFor(length);
          if (block === undefined) return;
          const bytes = block.bytes.subarray(block.used, block.used + length);
          block.used += Math.ceil(length / STEP) * STEP;
          block.coming++;
          this.#askFor(next, bytes, block);
        }
        this.#begun.shift();
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #askFor(download: Download, bytes: Uint8Array, block: Block | undefined): void {
    const { buffer, address, asked: at } = download;
    const event = this.#queue.enqueue(buffer, bytes, address + at);
    this.#coming.push({ download, at, bytes, event, block });
    download.asked += bytes.length;
  }

  #blockFor(bytes: number): Block | undefined {
    const size = Math.ceil(bytes / STEP) * STEP;
    const known = this.#blocks.find(({ used }) => used + size <= BLOCK_BYTES);
    if (known !== undefined || this.#blocks.length === BLOCKS) return known;
    const block = { bytes: this.#pinned.allocate(BLOCK_BYTES), used: 0, coming: 0 };
    this.#blocks.push(block);
    return block;
  }

  /** Takes what arrives, until nothing is under way. */
  async #receive(): Promise<void> {
    let taken = 0;
    // What begins in this turn is asked for by now.
    await undefined;
    try {
      for (let part = this.#coming[0]; part !== undefined; part = this.#coming[0]) {
        await this.#queue.ended(part.event);
        this.#coming.shift();
        this.#take(part);
        this.#ask();
        taken += part.bytes.length;
        if (taken < BLOCK_BYTES) continue;
        taken = 0;
        await setImmediate();
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#receiving = undefined;
    }
  }

  #take({ download, at, bytes, block }: Part): void {
    if (block !== undefined) {
      download.target.set(bytes, at);
      block.coming--;
      if (block.coming === 0) block.used = 0;
    }
    download.missing -= bytes.length;
    if (download.missing === 0) download.done();
  }

  #fail(error: unknown): void {
    for (const { download } of this.#coming.splice(0)) download.failed(error);
    for (const download of this.#begun.splice(0)) download.failed(error);
  }
}
