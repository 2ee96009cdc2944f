import type { CudaDriver } from "./driver.js";
import type { PinnedMemory } from "./pinned.js";
import { ALREADY_REGISTERED } from "./results.js";

/** Where a download arrives: in pinned memory where that is possible, as the device's copies wait for nobody there. */
export interface Landing {
  /** What is copied at a time, from the first byte to the last. */
  readonly parts: readonly Uint8Array[];
  /** Call when the bytes are there: fills the target, frees what was taken. */
  arrived(): void;
  /** Call when they will not come. */
  given(): void;
}

const BLOCK_BYTES = 2 ** 18;
const BLOCKS = 16;
const STEP = 256;

/** Downloads share a block until all of them have arrived. */
interface Block {
  readonly bytes: Uint8Array;
  used: number;
  coming: number;
}

class Arrival implements Landing {
  readonly parts: Uint8Array[] = [];
  readonly #fill: (() => void)[] = [];
  readonly #free: (() => void)[] = [];

  /** The next part of the target arrives in place. */
  direct(part: Uint8Array, free?: () => void): void {
    this.parts.push(part);
    if (free !== undefined) this.#free.push(free);
  }

  /** The next part of the target arrives elsewhere, and is copied. */
  through(part: Uint8Array, elsewhere: Uint8Array, free?: () => void): void {
    this.direct(elsewhere, free);
    this.#fill.push(() => part.set(elsewhere));
  }

  arrived(): void {
    for (const fill of this.#fill) fill();
    this.given();
  }

  given(): void {
    for (const free of this.#free) free();
  }
}

/**
 * Small downloads go through pinned blocks of this class. Of the memory of large ones the whole pages are pinned for their
 * time; the bytes before and after go through blocks: their pages belong to others, too, and a page can be pinned only
 * once, nor may a copy go from pinned to other memory.
 */
export class DownloadStaging {
  readonly #driver: CudaDriver;
  readonly #pinned: PinnedMemory;
  readonly #blocks: Block[] = [];

  constructor(driver: CudaDriver, pinned: PinnedMemory) {
    this.#driver = driver;
    this.#pinned = pinned;
  }

  landing(target: Uint8Array): Landing {
    const arrival = new Arrival();
    if (target.length <= BLOCK_BYTES && this.#throughBlock(target, arrival)) return arrival;
    for (const { offset, bytes, pinned } of this.#pinned.pieces(target)) {
      const piece = target.subarray(offset, offset + bytes);
      if (pinned) arrival.direct(piece);
      else this.#pin(piece, arrival);
    }
    return arrival;
  }

  #throughBlock(part: Uint8Array, arrival: Arrival): boolean {
    const size = Math.ceil(part.length / STEP) * STEP;
    const block = this.#blocks.find(({ used }) => used + size <= BLOCK_BYTES) ?? this.#add();
    if (block === undefined) return false;
    const from = block.used;
    block.used += size;
    block.coming++;
    arrival.through(part, block.bytes.subarray(from, from + part.length), () => {
      block.coming--;
      if (block.coming === 0) block.used = 0;
    });
    return true;
  }

  #pin(piece: Uint8Array, arrival: Arrival): void {
    const start = this.#driver.addressOf(piece);
    const [first, last] = [this.#pinned.ceil(start), this.#pinned.floor(start + piece.length)];
    const result =
      first < last ? this.#driver.try("cuMemHostRegister_v2", first, last - first, 0) : undefined;
    if (result !== 0) {
      // Pinned for another download into the same memory, which may end before this one.
      if (result === ALREADY_REGISTERED) arrival.through(piece, this.#pinned.pages(piece.length));
      else arrival.direct(piece);
      return;
    }
    const [before, after] = [piece.subarray(0, first - start), piece.subarray(last - start)];
    this.#edge(before, arrival);
    arrival.direct(piece.subarray(first - start, last - start), () => {
      this.#driver.try("cuMemHostUnregister", first);
    });
    this.#edge(after, arrival);
  }

  /** Less than a page. */
  #edge(part: Uint8Array, arrival: Arrival): void {
    if (part.length > 0 && !this.#throughBlock(part, arrival)) arrival.direct(part);
  }

  #add(): Block | undefined {
    if (this.#blocks.length === BLOCKS) return undefined;
    const block = { bytes: this.#pinned.allocate(BLOCK_BYTES), used: 0, coming: 0 };
    this.#blocks.push(block);
    return block;
  }
}
