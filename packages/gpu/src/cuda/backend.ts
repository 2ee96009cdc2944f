import type { Command, DeviceLost, GpuBackend, GpuBuffer, GpuLimits } from "../backend/contract.js";
import { ALIGNMENT } from "../backend/contract.js";
import { DeviceLostError, GpuMemoryError } from "../errors.js";
import { type GpuKernelName, gpuKernels } from "../kernels/table.js";
import { type CudaDeviceInfo, versionOf } from "./device.js";
import type { CudaDriver } from "./driver.js";
import { Events } from "./events.js";
import { ArgumentWriter, shapeOf } from "./kernels.js";
import { PinnedMemory } from "./pinned.js";
import { CudaError, OUT_OF_MEMORY } from "./results.js";
import { DownloadStaging, UploadStaging } from "./staging.js";

/** CU_STREAM_NON_BLOCKING */
const NON_BLOCKING = 1;
/** Word offsets in the kernels' tables reach this far over elements of 4 bytes. */
const REACH_BYTES = 2 ** 34 - ALIGNMENT;
/** Events that tell which launches have ended; more than launches are likely to be under way. */
const USE_EVENTS = 16;

class CudaBuffer implements GpuBuffer {
  /** Number of the last use by a launch or a download. */
  lastUse = 0;

  constructor(
    readonly bytes: number,
    readonly address: number,
  ) {}
}

interface Retired {
  readonly buffer: CudaBuffer;
  /** Everything that was enqueued up to here may use it. */
  readonly stamp: number;
}

export interface CudaContext {
  readonly driver: CudaDriver;
  readonly device: CudaDeviceInfo;
  readonly context: number;
  readonly module: number;
  /** Bytes of host memory that may be pinned at most. */
  readonly pinLimit?: number;
}

/**
 * Runs the kernels through the NVIDIA driver. Uploads have a stream of their own and overlap with launches:
 *
 * - a launch waits for the uploads before it (one event, recorded when the first launch after them is enqueued);
 * - an upload waits for the launches before it that use its buffer. Uses are numbered, use n records event n mod 16:
 *   when an event was recorded again, waiting for it means waiting for a later use, which includes the earlier one.
 */
export class CudaBackend implements GpuBackend {
  readonly kind = "cuda";
  readonly isSoftware = false;
  readonly dtypes = ["float32", "float64"] as const;
  readonly description: string;
  readonly limits: GpuLimits;
  readonly lost: Promise<DeviceLost>;
  readonly #cuda: CudaContext;
  readonly #driver: CudaDriver;
  readonly #events: Events;
  readonly #pinned: PinnedMemory;
  readonly #uploads: UploadStaging;
  readonly #downloads: DownloadStaging;
  readonly #argument: ArgumentWriter;
  readonly #compute: number;
  readonly #copies: number;
  readonly #functions = new Map<string, number>();
  readonly #buffers = new Set<CudaBuffer>();
  readonly #uploaded: number;
  readonly #used: readonly number[];
  readonly #waiting = new Set<Promise<void>>();
  #retired: Retired[] = [];
  #uploadsPending = false;
  #uses = 0;
  /** The last use that the copies have waited for. */
  #copiesSaw = 0;
  #enqueued = 0;
  #ended = 0;
  #gone: string | undefined;
  #lose!: (lost: DeviceLost) => void;
  #closed: Promise<void> | undefined;

  /** @throws CudaError */
  constructor(cuda: CudaContext) {
    const { driver, device } = cuda;
    this.#cuda = cuda;
    this.#driver = driver;
    this.description = `${device.name} (CUDA ${versionOf(device.cuda)})`;
    this.limits = {
      bufferBytes: device.totalBytes,
      bindingBytes: Math.min(device.totalBytes, REACH_BYTES),
    };
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
    this.#compute = driver.word("cuStreamCreate", NON_BLOCKING);
    this.#copies = driver.word("cuStreamCreate", NON_BLOCKING);
    this.#events = new Events(driver, cuda.context);
    this.#uploaded = this.#events.take();
    this.#used = Array.from({ length: USE_EVENTS }, () => this.#events.take());
    this.#pinned = new PinnedMemory(driver, cuda.pinLimit);
    this.#uploads = new UploadStaging(driver, this.#events, this.#pinned, this.#copies);
    this.#downloads = new DownloadStaging(driver, this.#pinned);
    this.#argument = new ArgumentWriter(driver);
    for (const kernel of Object.keys(gpuKernels)) {
      for (const suffix of ["F32", "F64"]) {
        const name = `${kernel}${suffix}`;
        this.#functions.set(name, driver.word("cuModuleGetFunction", cuda.module, name));
      }
    }
  }

  allocate(bytes: number): GpuBuffer {
    const size = Math.max(Math.ceil(bytes / ALIGNMENT), 1) * ALIGNMENT;
    return this.#guarded(() => {
      this.#reclaim();
      const address = this.#allocateBytes(size) ?? this.#allocateAfterWaiting(size);
      if (address === undefined) throw new GpuMemoryError(bytes);
      const buffer = new CudaBuffer(bytes, address);
      this.#buffers.add(buffer);
      this.#driver.call("cuMemsetD8Async", address, 0, size, this.#copies);
      this.#uploadsPending = true;
      return buffer;
    });
  }

  /** The memory is given back when the device no longer uses it. */
  free(buffer: GpuBuffer): void {
    const known = buffer as CudaBuffer;
    if (this.#buffers.delete(known)) this.#retired.push({ buffer: known, stamp: this.#enqueued });
  }

  upload(buffer: GpuBuffer, byteOffset: number, source: ArrayBufferView): void {
    this.#uploadTo(buffer, byteOffset, source, (address, bytes) => this.#uploads.upload(address, bytes));
  }

  /**
   * As `upload`, but the device reads the source itself, without a copy: it must stay as it is until `finished`
   * resolves. Its pages are pinned at the first use and stay so; where they cannot be, it is an upload as any other.
   */
  uploadInPlace(buffer: GpuBuffer, byteOffset: number, source: ArrayBufferView): void {
    this.#uploadTo(buffer, byteOffset, source, (address, bytes) => {
      this.#pinned.pin(bytes);
      for (const { offset, bytes: length, pinned } of this.#pinned.pieces(bytes)) {
        const piece = bytes.subarray(offset, offset + length);
        if (!pinned) this.#uploads.upload(address + offset, piece);
        else this.#driver.call("cuMemcpyHtoDAsync_v2", address + offset, piece, length, this.#copies);
      }
    });
  }

  async download(buffer: GpuBuffer, byteOffset: number, target: ArrayBufferView): Promise<void> {
    if (target.byteLength === 0) return;
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    const { event, landing } = this.#guarded(() => {
      this.#joinUploads();
      const landing = this.#downloads.landing(bytes);
      let from = (buffer as CudaBuffer).address + byteOffset;
      try {
        for (const part of landing.parts) {
          this.#driver.call("cuMemcpyDtoHAsync_v2", part, from, part.length, this.#compute);
          from += part.length;
        }
        this.#markUse([buffer as CudaBuffer]);
        return { event: this.#record(), landing };
      } catch (error) {
        landing.given();
        throw error;
      }
    });
    try {
      await this.#wait(event);
    } catch (error) {
      landing.given();
      throw error;
    }
    landing.arrived();
  }

  launch(commands: readonly Command[]): void {
    if (commands.length === 0) return;
    this.#guarded(() => {
      this.#joinUploads();
      const used: CudaBuffer[] = [];
      for (const command of commands) {
        for (const { buffer } of command.buffers) used.push(buffer as CudaBuffer);
        if (command.count > 0) this.#launchOne(command);
      }
      this.#markUse(used);
    });
  }

  async finished(): Promise<void> {
    const event = this.#guarded(() => {
      this.#joinUploads();
      return this.#record();
    });
    const stamp = this.#enqueued;
    await this.#wait(event);
    this.#ended = Math.max(this.#ended, stamp);
    this.#guarded(() => this.#reclaim());
  }

  memory(): { readonly free?: number; readonly held: number } {
    let held = 0;
    for (const { bytes } of this.#buffers) held += bytes;
    if (this.#gone !== undefined) return { held };
    const free = new BigUint64Array(1);
    const total = new BigUint64Array(1);
    this.#guarded(() => this.#driver.call("cuMemGetInfo_v2", free, total));
    return { free: Number(free[0]), held };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    if (this.#gone === undefined) await this.finished().catch(() => {});
    this.#gone ??= "it was closed";
    await Promise.allSettled(this.#waiting);
    // From here on nothing is expected of a device that may be gone: results are not looked at.
    const driver = this.#driver;
    driver.try("cuCtxSetCurrent", this.#cuda.context);
    for (const { address } of this.#buffers) driver.try("cuMemFree_v2", address);
    for (const { buffer } of this.#retired) driver.try("cuMemFree_v2", buffer.address);
    this.#buffers.clear();
    this.#retired = [];
    this.#pinned.close();
    this.#events.close();
    for (const stream of [this.#copies, this.#compute]) driver.try("cuStreamDestroy_v2", stream);
    driver.try("cuModuleUnload", this.#cuda.module);
    driver.try("cuDevicePrimaryCtxRelease_v2", this.#cuda.device.handle);
  }

  #uploadTo(
    buffer: GpuBuffer,
    byteOffset: number,
    source: ArrayBufferView,
    copy: (address: number, bytes: Uint8Array) => void,
  ): void {
    if (source.byteLength === 0) return;
    this.#guarded(() => {
      const { address, lastUse } = buffer as CudaBuffer;
      if (lastUse > this.#copiesSaw) {
        this.#driver.call("cuStreamWaitEvent", this.#copies, this.#used[lastUse % USE_EVENTS]!, 0);
        this.#copiesSaw = lastUse;
      }
      copy(address + byteOffset, new Uint8Array(source.buffer, source.byteOffset, source.byteLength));
      this.#uploadsPending = true;
    });
  }

  #launchOne(command: Command): void {
    const { blocks, threads } = shapeOf(command);
    const addresses = command.buffers.map(({ buffer, offset }) => (buffer as CudaBuffer).address + offset);
    this.#argument.write(command, addresses);
    const code = this.#function(command.kernel, command.dtype);
    const { list } = this.#argument;
    // biome-ignore format: grid, block, shared memory, stream, arguments
    this.#driver.call("cuLaunchKernel", code, blocks, 1, 1, threads, 1, 1, 0, this.#compute, list, null);
  }

  #function(kernel: GpuKernelName, dtype: Command["dtype"]): number {
    const found = this.#functions.get(`${kernel}${dtype === "float32" ? "F32" : "F64"}`);
    if (found === undefined || dtype === "float16") throw new TypeError(`CUDA has no ${dtype}.`);
    return found;
  }

  /** What is enqueued to compute from here on waits for the uploads so far. */
  #joinUploads(): void {
    if (!this.#uploadsPending) return;
    this.#driver.call("cuEventRecord", this.#uploaded, this.#copies);
    this.#driver.call("cuStreamWaitEvent", this.#compute, this.#uploaded, 0);
    this.#uploadsPending = false;
  }

  #markUse(buffers: readonly CudaBuffer[]): void {
    this.#uses++;
    for (const buffer of buffers) buffer.lastUse = this.#uses;
    this.#driver.call("cuEventRecord", this.#used[this.#uses % USE_EVENTS]!, this.#compute);
  }

  /** An event behind everything that is enqueued to compute. */
  #record(): number {
    const event = this.#events.take();
    this.#driver.call("cuEventRecord", event, this.#compute);
    return event;
  }

  async #wait(event: number): Promise<void> {
    const ended = this.#events.ended(event);
    this.#waiting.add(ended);
    try {
      await ended;
      this.#events.give(event);
    } catch (error) {
      throw this.#failed(error);
    } finally {
      this.#waiting.delete(ended);
    }
  }

  #allocateBytes(size: number): number | undefined {
    const address = new BigUint64Array(1);
    const result = this.#driver.try("cuMemAlloc_v2", address, size);
    if (result === OUT_OF_MEMORY) return undefined;
    if (result !== 0) throw this.#driver.error("cuMemAlloc_v2", result);
    return Number(address[0]);
  }

  /** Once more, when what was freed has really been given back; holds up the caller. */
  #allocateAfterWaiting(size: number): number | undefined {
    if (this.#retired.length === 0) return undefined;
    this.#joinUploads();
    const event = this.#record();
    this.#driver.call("cuEventSynchronize", event);
    this.#events.give(event);
    this.#ended = this.#enqueued;
    this.#reclaim();
    return this.#allocateBytes(size);
  }

  #reclaim(): void {
    const kept: Retired[] = [];
    for (const retired of this.#retired) {
      if (retired.stamp > this.#ended) kept.push(retired);
      else this.#driver.call("cuMemFree_v2", retired.buffer.address);
    }
    this.#retired = kept;
  }

  /** Runs driver calls in the context of the device; a failure that is not about memory ends the device. */
  #guarded<T>(body: () => T): T {
    if (this.#gone !== undefined) throw new DeviceLostError(this.#gone);
    try {
      this.#enqueued++;
      this.#driver.call("cuCtxSetCurrent", this.#cuda.context);
      return body();
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Nothing on a device can be trusted after an error of the driver: most of them stay with the context for good. */
  #failed(error: unknown): unknown {
    if (!(error instanceof CudaError)) return error;
    this.#gone ??= error.message;
    this.#lose({ reason: this.#gone });
    return new DeviceLostError(this.#gone, { cause: error });
  }
}
