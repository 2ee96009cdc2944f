import { ALIGNMENT, type Binding, type GpuBackend, type GpuBuffer } from "../backend/contract.js";
import { pieceBytes } from "./pieces.js";

/** Buffers that kernels write and read again within a step; kept from step to step, larger ones made as needed. */
export class Scratch {
  readonly #backend: GpuBackend;
  readonly #buffers = new Map<string, GpuBuffer>();

  constructor(backend: GpuBackend) {
    this.#backend = backend;
  }

  /** At least so many bytes, the same at every call of the name; not zeroed. @throws GpuMemoryError */
  take(name: string, bytes: number): Binding {
    const known = this.#buffers.get(name);
    if (known !== undefined && known.bytes >= bytes) return { buffer: known, offset: 0, bytes: known.bytes };
    // Half as much again, so that steps of growing sizes do not make a buffer each.
    const larger = Math.min(bytes * 1.5, Math.max(bytes, pieceBytes(this.#backend.limits)));
    const size = Math.ceil(larger / ALIGNMENT) * ALIGNMENT;
    const buffer = this.#backend.allocate(size);
    if (known !== undefined) this.#backend.free(known);
    this.#buffers.set(name, buffer);
    return { buffer, offset: 0, bytes: size };
  }
}
