import { totalmem } from "node:os";
import type { CudaDriver } from "./driver.js";
import { ALREADY_REGISTERED } from "./results.js";

/** What is pinned between two turns of the event loop: about a millisecond. */
const PART_BYTES = 4 << 20;

interface Range {
  readonly start: number;
  readonly end: number;
}

/** A part of host memory that is pinned as a whole, or not at all. */
export interface Piece {
  readonly offset: number;
  readonly bytes: number;
  readonly pinned: boolean;
}

/**
 * Host memory that the driver holds in place, so that the device reads it without a copy in between. Pages are pinned
 * when they are first used, and stay so until `close`. What cannot be pinned is used all the same, slower.
 */
export class PinnedMemory {
  readonly #driver: CudaDriver;
  readonly #limit: number;
  /** In order of their addresses, without overlaps. */
  readonly #ranges: Range[] = [];
  /** Keeps pinned memory from being collected: its address may not be given out again. */
  readonly #held = new Set<ArrayBufferLike>();
  #bytes = 0;
  #refused = false;

  /** @param limit - bytes that may be pinned at most */
  constructor(driver: CudaDriver, limit = totalmem() / 4) {
    this.#driver = driver;
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Pins what is not pinned of a view's pages, as far as that is possible. Holds up the caller. */
  pin(view: ArrayBufferView): void {
    const start = this.#driver.addressOf(view);
    const end = start + view.byteLength;
    if (!this.#covered(start, end)) this.#pin(view.buffer, this.#floor(start), this.#ceil(end));
  }

  /** Pins a part of what is not pinned of a view; true when there may be more to pin. */
  pinPart(view: ArrayBufferView): boolean {
    const gap = this.pieces(view).find(({ pinned }) => !pinned);
    if (gap === undefined) return false;
    const from = this.#driver.addressOf(view) + gap.offset;
    const partEnd = (Math.floor(from / PART_BYTES) + 1) * PART_BYTES;
    return this.#pin(view.buffer, this.#floor(from), this.#ceil(Math.min(partEnd, from + gap.bytes)));
  }

  /** Pinned memory of its own pages, where it can be pinned. */
  allocate(bytes: number): Uint8Array {
    // On its pages nothing else lies: it is pinned as a whole or not at all.
    const buffer = new ArrayBuffer(this.#ceil(bytes) + this.#driver.pageBytes);
    const start = this.#driver.addressOf(new Uint8Array(buffer));
    const view = new Uint8Array(buffer, this.#ceil(start) - start, bytes);
    this.pin(view);
    return view;
  }

  /** Which parts of a view are pinned. A copy must not cross from one to another. */
  pieces(view: ArrayBufferView): Piece[] {
    const start = this.#driver.addressOf(view);
    const end = start + view.byteLength;
    const pieces: Piece[] = [];
    let at = start;
    for (const range of this.#ranges) {
      if (range.end <= at) continue;
      if (range.start >= end) break;
      if (range.start > at) {
        pieces.push({ offset: at - start, bytes: range.start - at, pinned: false });
        at = range.start;
      }
      const until = Math.min(range.end, end);
      pieces.push({ offset: at - start, bytes: until - at, pinned: true });
      at = until;
    }
    if (at < end) pieces.push({ offset: at - start, bytes: end - at, pinned: false });
    return pieces;
  }

  close(): void {
    for (const { start } of this.#ranges) this.#driver.try("cuMemHostUnregister", start);
    this.#ranges.length = 0;
    this.#held.clear();
    this.#bytes = 0;
  }

  /** The beginning of an address' page. */
  #floor(address: number): number {
    return address - (address % this.#driver.pageBytes);
  }

  /** The end of an address' page, or the address itself where a page begins. */
  #ceil(address: number): number {
    return this.#floor(address + this.#driver.pageBytes - 1);
  }

  #covered(start: number, end: number): boolean {
    return this.#ranges.some((range) => range.start <= start && end <= range.end);
  }

  /** Pins the gaps between ranges from `start` to `end`; false when nothing could be pinned. */
  #pin(buffer: ArrayBufferLike, start: number, end: number): boolean {
    const added: Range[] = [];
    let at = start;
    for (const range of [...this.#ranges, { start: end, end }]) {
      if (range.end < at) continue;
      const gap = { start: at, end: Math.min(range.start, end) };
      if (gap.end > gap.start && this.#register(gap)) added.push(gap);
      at = Math.max(at, range.end);
      if (at >= end) break;
    }
    if (added.length === 0) return false;
    this.#held.add(buffer);
    this.#ranges.push(...added);
    this.#ranges.sort((a, b) => a.start - b.start);
    return true;
  }

  #register({ start, end }: Range): boolean {
    const bytes = end - start;
    // Where the system lets nobody pin, it is not asked at every step.
    if (this.#refused || this.#bytes + bytes > this.#limit) return false;
    const result = this.#driver.try("cuMemHostRegister_v2", start, bytes, 0);
    // Pages that another library has pinned stay its own.
    this.#refused = result !== 0 && result !== ALREADY_REGISTERED;
    if (result !== 0) return false;
    this.#bytes += bytes;
    return true;
  }
}
