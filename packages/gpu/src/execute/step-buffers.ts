import { ALIGNMENT, type Binding, type GpuBackend, type GpuBuffer } from "../backend/contract.js";
import { pieceBytes } from "./pieces.js";

/** Bytes up to which things are collected on the host, to go up in one copy. */
export const SMALL = 64 << 10;
const SMALL_BUFFER = 1 << 20;
const LARGE_BUFFER = 16 << 20;

/** A part of a buffer. */
export interface StepPlace {
  readonly buffer: GpuBuffer;
  /** In bytes; as it was given, a multiple of ALIGNMENT. */
  readonly offset: number;
  /** Where the bytes are collected on the host first, if they are few: the same offsets as in the buffer. */
  readonly host: Uint8Array | undefined;
}

/** Bytes collected on the host that are to go up to the start of a buffer. */
export interface Upload {
  readonly buffer: GpuBuffer;
  readonly bytes: Uint8Array;
}

interface StepBuffer {
  readonly buffer: GpuBuffer;
  readonly host: Uint8Array | undefined;
  /** Bytes that are given away since `begin`. */
  used: number;
}

/**
 * Room for what a step brings along. The same buffers serve every step: copies and launches are ordered, so what a step
 * writes comes after what the one before it has read. Kernels only read them.
 *
 * Invariant: a buffer is never given back or moved. So a place can be filled again in later steps, whatever steps with
 * other places come between.
 */
export class StepBuffers {
  readonly #backend: GpuBackend;
  readonly #small: StepBuffer[] = [];
  readonly #large: StepBuffer[] = [];

  constructor(backend: GpuBackend) {
    this.#backend = backend;
  }

  /** Begins the places of one step. */
  begin(): void {
    for (const buffer of this.#small) buffer.used = 0;
    for (const buffer of this.#large) buffer.used = 0;
  }

  /**
   * Room beside the places since `begin`. @throws GpuMemoryError
   * @param collected - what comes there is collected on the host
   */
  place(bytes: number, collected = bytes <= SMALL): StepPlace {
    const size = aligned(bytes);
    const target = this.#with(collected ? this.#small : this.#large, size);
    const { buffer, host, used: offset } = target;
    target.used += size;
    return { buffer, offset, host };
  }

  /** Puts bytes at a place; few bytes only on the host. `inPlace`: they stay as they are until the step has ended. */
  fill({ buffer, offset, host }: StepPlace, bytes: Uint8Array, inPlace: boolean): void {
    if (host !== undefined) host.set(bytes, offset);
    else if (inPlace && this.#backend.uploadInPlace !== undefined) {
      this.#backend.uploadInPlace(buffer, offset, bytes);
    } else this.#backend.upload(buffer, offset, bytes);
  }

  /** What has to go up before the launch, when the places since `begin` are filled. */
  uploads(): Upload[] {
    const used = this.#small.filter(({ used }) => used > 0);
    return used.map(({ buffer, host, used }) => ({ buffer, bytes: host!.subarray(0, used) }));
  }

  /** A copy of bytes at a place of their own. @throws GpuMemoryError */
  bind(bytes: Uint8Array): Binding {
    const place = this.place(bytes.byteLength);
    this.fill(place, bytes, false);
    return { buffer: place.buffer, offset: place.offset, bytes: aligned(bytes.byteLength) };
  }

  #with(buffers: StepBuffer[], size: number): StepBuffer {
    for (const known of buffers) if (known.used + size <= known.buffer.bytes) return known;
    const isSmall = buffers === this.#small;
    const usual = Math.min(isSmall ? SMALL_BUFFER : LARGE_BUFFER, pieceBytes(this.#backend.limits));
    const bytes = Math.max(size, usual);
    const buffer = this.#backend.allocate(bytes);
    const made = { buffer, host: isSmall ? new Uint8Array(bytes) : undefined, used: 0 };
    buffers.push(made);
    return made;
  }
}

export function aligned(bytes: number): number {
  return Math.max(Math.ceil(bytes / ALIGNMENT), 1) * ALIGNMENT;
}
