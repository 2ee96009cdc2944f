import { ALIGNMENT, type GpuBuffer } from "../backend/contract.js";
import { GpuMemoryError } from "../errors.js";
import type { CudaDriver } from "./driver.js";
import { OUT_OF_MEMORY } from "./results.js";

export class CudaBuffer implements GpuBuffer {
  /** Number of the last use by a launch or a download. */
  lastUse = 0;

  constructor(
    readonly bytes: number,
    readonly address: number,
  ) {}

  /** What it really takes. */
  get roundedBytes(): number {
    return Math.max(Math.ceil(this.bytes / ALIGNMENT), 1) * ALIGNMENT;
  }
}

/** Memory of the device. What is freed is given back when the device has ended the work that may use it. */
export class DeviceMemory {
  readonly #driver: CudaDriver;
  readonly #buffers = new Set<CudaBuffer>();
  /** Freed buffers, and the last piece of work that may use each. */
  #retired: { readonly buffer: CudaBuffer; readonly stamp: number }[] = [];

  constructor(driver: CudaDriver) {
    this.#driver = driver;
  }

  get held(): number {
    let held = 0;
    for (const { bytes } of this.#buffers) held += bytes;
    return held;
  }

  /**
   * @param wait - waits for all work on the device; called when there is no room but something to give back
   * @throws GpuMemoryError
   */
  allocate(bytes: number, wait: () => void): CudaBuffer {
    let address = this.#take(bytes);
    if (address === undefined && this.#retired.length > 0) {
      wait();
      this.reclaim(Number.POSITIVE_INFINITY);
      address = this.#take(bytes);
    }
    if (address === undefined) throw new GpuMemoryError(bytes);
    const buffer = new CudaBuffer(bytes, address);
    this.#buffers.add(buffer);
    return buffer;
  }

  free(buffer: GpuBuffer, stamp: number): void {
    const known = buffer as CudaBuffer;
    if (this.#buffers.delete(known)) this.#retired.push({ buffer: known, stamp });
  }

  /** Gives back what no work after `ended` may use. */
  reclaim(ended: number): void {
    const kept = this.#retired.filter(({ stamp }) => stamp > ended);
    for (const { buffer, stamp } of this.#retired) {
      if (stamp <= ended) this.#driver.call("cuMemFree_v2", buffer.address);
    }
    this.#retired = kept;
  }

  /** Everything at once, whatever the device says. */
  close(): void {
    for (const buffer of this.#buffers) this.#driver.try("cuMemFree_v2", buffer.address);
    for (const { buffer } of this.#retired) this.#driver.try("cuMemFree_v2", buffer.address);
    this.#buffers.clear();
    this.#retired = [];
  }

  #take(bytes: number): number | undefined {
    const address = new BigUint64Array(1);
    const size = Math.max(Math.ceil(bytes / ALIGNMENT), 1) * ALIGNMENT;
    const result = this.#driver.try("cuMemAlloc_v2", address, size);
    if (result === OUT_OF_MEMORY) return undefined;
    if (result !== 0) throw this.#driver.error("cuMemAlloc_v2", result);
    return Number(address[0]);
  }
}
