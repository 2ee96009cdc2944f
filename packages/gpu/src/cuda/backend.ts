import { setImmediate } from "node:timers/promises";
import type { Command, DeviceLost, GpuBackend, GpuBuffer, GpuLimits } from "../backend/contract.js";
import { ALIGNMENT } from "../backend/contract.js";
import { DeviceLostError } from "../errors.js";
import type { GpuKernelName } from "../kernels/table.js";
import { versionOf } from "./device.js";
import { Downloads } from "./downloads.js";
import type { CudaDriver } from "./driver.js";
import type { Events } from "./events.js";
import { ArgumentWriter, exportOf, MOST_THREADS, shapeOf } from "./kernels.js";
import { type CudaBuffer, DeviceMemory } from "./memory.js";
import { PinnedMemory } from "./pinned.js";
import type { CudaResources } from "./resources.js";
import { CudaError } from "./results.js";
import { UploadStaging } from "./staging.js";
import { Streams } from "./streams.js";

/** Word offsets in the kernels' tables reach this far over elements of 4 bytes. */
const REACH_BYTES = 2 ** 34 - ALIGNMENT;

/** Runs the kernels through the NVIDIA driver, on two streams whose order {@link Streams} keeps. */
export class CudaBackend implements GpuBackend {
  readonly kind = "cuda";
  readonly isSoftware = false;
  readonly dtypes = ["float32", "float64"] as const;
  readonly description: string;
  readonly limits: GpuLimits;
  readonly lost: Promise<DeviceLost>;
  readonly #resources: CudaResources;
  readonly #driver: CudaDriver;
  readonly #events: Events;
  readonly #memory: DeviceMemory;
  readonly #pinned: PinnedMemory;
  readonly #uploads: UploadStaging;
  readonly #downloads: Downloads;
  readonly #argument: ArgumentWriter;
  readonly #streams: Streams;
  readonly #waiting = new Set<Promise<void>>();
  #enqueued = 0;
  #ended = 0;
  #gone: string | undefined;
  #lose!: (lost: DeviceLost) => void;
  #closed: Promise<void> | undefined;

  /**
   * @param pinLimit - bytes of host memory that may be pinned at most
   * @throws CudaError
   */
  constructor(resources: CudaResources, pinLimit?: number) {
    const { driver, device, events, context } = resources;
    driver.call("cuCtxSetCurrent", context);
    this.#resources = resources;
    this.#driver = driver;
    this.#events = events;
    this.description = `${device.name} (CUDA ${versionOf(device.cuda)})`;
    const { totalBytes } = device;
    this.limits = { bufferBytes: totalBytes, bindingBytes: Math.min(totalBytes, REACH_BYTES) };
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
    this.#streams = new Streams(resources);
    this.#memory = new DeviceMemory(driver);
    this.#pinned = new PinnedMemory(driver, pinLimit);
    this.#uploads = new UploadStaging(driver, events, this.#pinned, this.#streams.copies);
    this.#downloads = new Downloads(this.#pinned, {
      enqueue: (buffer, into, address) => this.#enqueueDownload(buffer, into, address),
      ended: async (event) => {
        await this.#wait(event);
        this.#events.give(event);
      },
    });
    this.#argument = new ArgumentWriter(driver);
  }

  /**
   * Runs every kernel over nothing. Drivers load a kernel when it is first launched, which takes memory and may fail: here
   * it does before anything depends on it.
   */
  async loadKernels(): Promise<void> {
    for (const code of this.#resources.functions()) {
      this.#guarded(() => {
        this.#argument.clear();
        this.#start(code, 1, MOST_THREADS);
      });
      await setImmediate();
    }
    await this.finished();
  }

  allocate(bytes: number): GpuBuffer {
    return this.#guarded(() => {
      this.#memory.reclaim(this.#ended);
      const buffer = this.#memory.allocate(bytes, () => this.#streams.waitForAll());
      this.#driver.call("cuMemsetD8Async", buffer.address, 0, buffer.roundedBytes, this.#streams.copies);
      this.#streams.markUpload();
      return buffer;
    });
  }

  /** The memory is given back when the device no longer uses it. */
  free(buffer: GpuBuffer): void {
    this.#downloads.flush([buffer as CudaBuffer]);
    this.#memory.free(buffer, this.#enqueued);
  }

  upload(buffer: GpuBuffer, byteOffset: number, source: ArrayBufferView): void {
    this.#uploadTo(buffer, byteOffset, source, (address, bytes) => this.#uploads.upload(address, bytes));
  }

  async readyInPlace(source: ArrayBufferView): Promise<void> {
    while (this.#guarded(() => this.#pinned.pinPart(source))) await setImmediate();
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
        else this.#driver.call("cuMemcpyHtoDAsync_v2", address + offset, piece, length, this.#streams.copies);
      }
    });
  }

  async download(buffer: GpuBuffer, byteOffset: number, target: ArrayBufferView): Promise<void> {
    if (target.byteLength === 0) return;
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    const { address } = buffer as CudaBuffer;
    await this.#downloads.download(buffer as CudaBuffer, address + byteOffset, bytes);
  }

  launch(commands: readonly Command[]): void {
    if (commands.length === 0) return;
    this.#guarded(() => {
      const used = commands.flatMap(({ buffers }) => buffers.map(({ buffer }) => buffer as CudaBuffer));
      this.#downloads.flush(used);
      this.#streams.joinUploads();
      for (const command of commands) if (command.count > 0) this.#launchOne(command);
      this.#streams.markUse(used);
    });
  }

  async finished(): Promise<void> {
    const event = this.#guarded(() => {
      this.#streams.joinUploads();
      return this.#streams.record();
    });
    const stamp = this.#enqueued;
    await this.#wait(event);
    this.#events.give(event);
    this.#ended = Math.max(this.#ended, stamp);
    if (this.#gone === undefined) this.#guarded(() => this.#memory.reclaim(this.#ended));
  }

  /** Milliseconds that the device takes for what `enqueue` launches, by its own clock. */
  async timed(enqueue: () => void): Promise<number> {
    const [start, end] = this.#guarded(() => {
      this.#streams.joinUploads();
      const made = [this.#events.timed(), this.#events.timed()] as const;
      this.#driver.call("cuEventRecord", made[0], this.#streams.compute);
      return made;
    });
    enqueue();
    this.#guarded(() => this.#driver.call("cuEventRecord", end, this.#streams.compute));
    await this.#wait(end);
    return this.#guarded(() => this.#events.elapsed(start, end));
  }

  #enqueueDownload(buffer: CudaBuffer, into: Uint8Array, address: number): number {
    return this.#guarded(() => {
      this.#streams.joinUploads();
      this.#driver.call("cuMemcpyDtoHAsync_v2", into, address, into.length, this.#streams.compute);
      this.#streams.markUse([buffer]);
      return this.#streams.record();
    });
  }

  /** Copies within the device by the driver's own means, as a measure of its memory. */
  copyOnDevice(from: GpuBuffer, to: GpuBuffer, bytes: number): void {
    this.#guarded(() => {
      this.#streams.joinUploads();
      const [source, target] = [from as CudaBuffer, to as CudaBuffer];
      this.#downloads.flush([target]);
      this.#driver.call("cuMemcpyDtoDAsync_v2", target.address, source.address, bytes, this.#streams.compute);
      this.#streams.markUse([source, target]);
    });
  }

  memory(): { readonly free?: number; readonly held: number } {
    const { held } = this.#memory;
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
    await this.#downloads.ended();
    if (this.#gone === undefined) await this.finished().catch(() => {});
    this.#gone ??= "it was closed";
    await Promise.allSettled(this.#waiting);
    this.#enter();
    this.#memory.close();
    this.#pinned.close();
    this.#resources.release();
  }

  #uploadTo(
    buffer: GpuBuffer,
    byteOffset: number,
    source: ArrayBufferView,
    copy: (address: number, bytes: Uint8Array) => void,
  ): void {
    if (source.byteLength === 0) return;
    this.#guarded(() => {
      this.#downloads.flush([buffer as CudaBuffer]);
      this.#streams.waitForUses(buffer as CudaBuffer);
      const { address } = buffer as CudaBuffer;
      copy(address + byteOffset, new Uint8Array(source.buffer, source.byteOffset, source.byteLength));
      this.#streams.markUpload();
    });
  }

  #launchOne(command: Command): void {
    const { blocks, threads } = shapeOf(command);
    const addresses = command.buffers.map(({ buffer, offset }) => (buffer as CudaBuffer).address + offset);
    this.#argument.write(command, addresses);
    const code = this.#function(command.kernel, command.dtype);
    this.#start(code, blocks, threads);
  }

  #start(code: number, blocks: number, threads: number): void {
    const { list } = this.#argument;
    // biome-ignore format: grid, block, shared memory, stream, arguments
    this.#driver.call("cuLaunchKernel", code, blocks, 1, 1, threads, 1, 1, 0, this.#streams.compute, list, null);
  }

  #function(kernel: GpuKernelName, dtype: Command["dtype"]): number {
    const found = this.#resources.function(exportOf(kernel, dtype));
    if (found === undefined) throw new TypeError(`CUDA has no ${dtype}.`);
    return found;
  }

  async #wait(event: number): Promise<void> {
    const ended = this.#events.ended(event);
    this.#waiting.add(ended);
    try {
      await ended;
    } catch (error) {
      throw this.#failed(error);
    } finally {
      this.#waiting.delete(ended);
    }
  }

  /** Makes the context current where nothing depends on the result. */
  #enter(): void {
    this.#driver.try("cuCtxSetCurrent", this.#resources.context);
  }

  /** Runs driver calls in the context of the device; a failure that is not about memory ends the device. */
  #guarded<T>(body: () => T): T {
    if (this.#gone !== undefined) throw new DeviceLostError(this.#gone);
    try {
      this.#enqueued++;
      this.#driver.call("cuCtxSetCurrent", this.#resources.context);
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
