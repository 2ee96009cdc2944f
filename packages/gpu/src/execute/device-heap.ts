import { ALIGNMENT, type GpuBackend, type GpuBuffer } from "../backend/contract.js";
import { pieceBytes } from "./pieces.js";

/** A part of a buffer that holds one array, or one piece of it. */
export interface Place {
  readonly buffer: GpuBuffer;
  /** In bytes, a multiple of ALIGNMENT. */
  readonly offset: number;
  readonly bytes: number;
}

/** Arrays of up to this many bytes share buffers, so that one launch reaches many of them. */
const SMALL = 1 << 20;
const SLAB = 16 << 20;

interface Slab {
  readonly buffer: GpuBuffer;
  /** Free ranges by offset, in order, none touching the next. */
  free: { offset: number; bytes: number }[];
}

/**
 * Room for arrays of one role (variables, accumulators or averages): a launch may not be given one buffer twice, so each
 * role has buffers of its own. No buffer is larger than what a kernel can be given.
 */
export class DeviceHeap {
  readonly #backend: GpuBackend;
  readonly #slabs: Slab[] = [];

  constructor(backend: GpuBackend) {
    this.#backend = backend;
  }

  /** Zeroed only where no array was before. @throws GpuMemoryError */
  allocate(bytes: number): Place {
    const size = Math.max(Math.ceil(bytes / ALIGNMENT), 1) * ALIGNMENT;
    if (size > SMALL) return this.allocateAlone(bytes);
    for (const slab of this.#slabs) {
      const range = slab.free.find((free) => free.bytes >= size);
      if (range === undefined) continue;
      const { offset } = range;
      range.offset += size;
      range.bytes -= size;
      if (range.bytes === 0) slab.free = slab.free.filter((free) => free !== range);
      return { buffer: slab.buffer, offset, bytes: size };
    }
    const slabBytes = Math.max(size, Math.min(SLAB, pieceBytes(this.#backend.limits)));
    const buffer = this.#backend.allocate(slabBytes);
    const rest = slabBytes - size;
    this.#slabs.push({ buffer, free: rest > 0 ? [{ offset: size, bytes: rest }] : [] });
    return { buffer, offset: 0, bytes: size };
  }

  /** The same, in a buffer that nothing else shares. @throws GpuMemoryError */
  allocateAlone(bytes: number): Place {
    const size = Math.max(Math.ceil(bytes / ALIGNMENT), 1) * ALIGNMENT;
    return { buffer: this.#backend.allocate(size), offset: 0, bytes: size };
  }

  isAlone({ buffer }: Place): boolean {
    return this.#slabs.every((slab) => slab.buffer !== buffer);
  }

  free({ buffer, offset, bytes }: Place): void {
    const at = this.#slabs.findIndex((slab) => slab.buffer === buffer);
    if (at < 0) {
      this.#backend.free(buffer);
      return;
    }
    const slab = this.#slabs[at]!;
    slab.free.push({ offset, bytes });
    slab.free.sort((a, b) => a.offset - b.offset);
    slab.free = slab.free.reduce<Slab["free"]>((merged, range) => {
      const last = merged.at(-1);
      if (last !== undefined && last.offset + last.bytes === range.offset) last.bytes += range.bytes;
      else merged.push({ ...range });
      return merged;
    }, []);
    if (slab.free[0]!.bytes < buffer.bytes) return;
    this.#slabs.splice(at, 1);
    this.#backend.free(buffer);
  }
}
