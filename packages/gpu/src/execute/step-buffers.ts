import { ALIGNMENT, type Binding, type GpuBackend, type GpuBuffer } from "../backend/contract.js";
import { pieceBytes } from "./pieces.js";

/** What is smaller is collected on the host and goes up in one copy. */
const SMALL = 64 << 10;
const SMALL_BUFFER = 1 << 20;
const LARGE_BUFFER = 16 << 20;

interface StepBuffer {
  readonly buffer: GpuBuffer;
  used: number;
}

/**
 * Gradients and tables of one step. The same buffers serve every step: copies and launches are ordered, so what a step
 * writes comes after what the one before it has read. Kernels only read them.
 */
export class StepBuffers {
  readonly #backend: GpuBackend;
  readonly #smallBytes: number;
  readonly #large: StepBuffer[] = [];
  readonly #small: (StepBuffer & { readonly host: Uint8Array })[] = [];
  #lasting = false;

  constructor(backend: GpuBackend) {
    this.#backend = backend;
    this.#smallBytes = Math.min(SMALL_BUFFER, pieceBytes(backend.limits));
  }

  /** Begins a step. `lasting`: its gradients stay as they are until it has ended. */
  reset(lasting: boolean): void {
    this.#lasting = lasting;
    for (const buffer of this.#large) buffer.used = 0;
    for (const buffer of this.#small) buffer.used = 0;
  }

  /**
   * Puts bytes of a gradient where a kernel can read them. The binding is of the whole buffer, `offset` where the bytes
   * begin.
   * @throws GpuMemoryError
   */
  put(bytes: Uint8Array): { readonly buffer: GpuBuffer; readonly offset: number } {
    return this.#put(bytes, this.#lasting);
  }

  /** A binding of just these bytes, which are copied. */
  bind(bytes: Uint8Array): Binding {
    const size = Math.max(Math.ceil(bytes.byteLength / ALIGNMENT), 1) * ALIGNMENT;
    return { ...this.#put(bytes, false), bytes: size };
  }

  /** Sends what was collected; to be called before the launch. */
  flush(): void {
    for (const { buffer, host, used } of this.#small) {
      if (used > 0) this.#backend.upload(buffer, 0, host.subarray(0, used));
    }
  }

  #put(bytes: Uint8Array, inPlace: boolean): { readonly buffer: GpuBuffer; readonly offset: number } {
    const size = Math.max(Math.ceil(bytes.byteLength / ALIGNMENT), 1) * ALIGNMENT;
    if (size <= SMALL) {
      const target = this.#smallWith(size);
      const offset = target.used;
      target.host.set(bytes, offset);
      target.used += size;
      return { buffer: target.buffer, offset };
    }
    const target = this.#largeWith(size);
    const offset = target.used;
    if (inPlace && this.#backend.uploadInPlace !== undefined) {
      this.#backend.uploadInPlace(target.buffer, offset, bytes);
    } else {
      this.#backend.upload(target.buffer, offset, bytes);
    }
    target.used += size;
    return { buffer: target.buffer, offset };
  }

  #smallWith(size: number) {
    const found = this.#small.find(({ used }) => used + size <= this.#smallBytes);
    if (found !== undefined) return found;
    const made = {
      buffer: this.#backend.allocate(this.#smallBytes),
      used: 0,
      host: new Uint8Array(this.#smallBytes),
    };
    this.#small.push(made);
    return made;
  }

  #largeWith(size: number): StepBuffer {
    const found = this.#large.find(({ buffer, used }) => used + size <= buffer.bytes);
    if (found !== undefined) return found;
    const bytes = Math.max(size, Math.min(LARGE_BUFFER, pieceBytes(this.#backend.limits)));
    const made = { buffer: this.#backend.allocate(bytes), used: 0 };
    this.#large.push(made);
    return made;
  }
}
