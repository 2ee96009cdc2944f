import { setImmediate } from "node:timers/promises";
/// <reference types="@webgpu/types" />
import type { Binding, Command, DeviceLost, GpuBackend, GpuBuffer, GpuLimits } from "../backend/contract.js";
import { DeviceLostError, GpuMemoryError } from "../errors.js";
import { gpuKernels } from "../kernels/table.js";
import type { SharedDevice } from "./device.js";
import { type Pipelines, SCALARS_BYTES } from "./pipelines.js";

/** The numbers of GPUBufferUsage and GPUMapMode, without the globals that Node lacks. */
const usage = { mapRead: 1, copySource: 4, copyTarget: 8, uniform: 64, storage: 128 };
const MAP_READ = 1;

/** Commands whose scalars fit into the uniform buffer at a time. */
const COMMANDS_AT_ONCE = 256;

const SHARED_CHUNK = 512 << 10;

class WebGpuBuffer implements GpuBuffer {
  static #made = 0;
  readonly id = ++WebGpuBuffer.#made;

  constructor(
    readonly bytes: number,
    readonly handle: GPUBuffer,
  ) {}
}

/** Runs the kernels through WebGPU. */
export class WebGpuBackend implements GpuBackend {
  readonly kind = "webgpu";
  readonly dtypes = ["float32"] as const;
  readonly description: string;
  readonly isSoftware: boolean;
  readonly limits: GpuLimits;
  readonly lost: Promise<DeviceLost>;
  readonly #shared: SharedDevice;
  readonly #device: GPUDevice;
  readonly #pipelines: Pipelines;
  readonly #scalars: GPUBuffer;
  readonly #scalarWords = new Uint32Array((COMMANDS_AT_ONCE * SCALARS_BYTES) / 4);
  readonly #scalarElements = new Float32Array(this.#scalarWords.buffer);
  readonly #buffers = new Set<WebGpuBuffer>();
  /** Bind groups by kernel and bindings; the objects they name live as long as they do. */
  #bindGroups = new Map<string, GPUBindGroup>();
  /** Errors that came after the call that caused them, and checks that may still bring some. */
  #failure: unknown;
  readonly #checks = new Set<Promise<unknown>>();
  readonly #downloads = new Set<Promise<unknown>>();
  readonly #chunk = new Uint8Array(SHARED_CHUNK);
  readonly #onError = ({ message }: GPUError) => {
    this.#failure ??= new Error(`WebGPU: ${message}`);
  };
  #lostReason: string | undefined;
  #closed = false;

  /**
   * @param shared - acquired for this back end, which gives it back when it is closed
   * @param kind - what drives the device, for people
   */
  constructor(shared: SharedDevice, kind = "WebGPU") {
    const { device, info } = shared;
    this.#shared = shared;
    this.#device = device;
    this.#pipelines = shared.pipelines;
    const { description, device: name, vendor, architecture } = info;
    this.description =
      `${[vendor, architecture, description || name].filter(Boolean).join(" ")} (${kind})`.trim();
    this.isSoftware = info.isFallbackAdapter;
    const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
    this.limits = { bufferBytes: maxBufferSize, bindingBytes: maxStorageBufferBindingSize };
    this.#scalars = device.createBuffer({
      label: "scalars",
      size: this.#scalarWords.byteLength,
      usage: usage.uniform | usage.copyTarget,
    });
    this.lost = new Promise((resolve) => {
      void device.lost.then(({ message, reason }) => {
        this.#lostReason = message || reason;
        if (!this.#closed) resolve({ reason: this.#lostReason });
      });
    });
    shared.onError.add(this.#onError);
  }

  allocate(bytes: number): GpuBuffer {
    this.#refuseWhenLost();
    const size = Math.max(Math.ceil(bytes / 4) * 4, 4);
    if (size > this.limits.bufferBytes) throw new GpuMemoryError(bytes);
    this.#device.pushErrorScope("out-of-memory");
    const handle = this.#device.createBuffer({
      size,
      usage: usage.storage | usage.copySource | usage.copyTarget,
    });
    this.check(
      this.#device.popErrorScope().then((error) => {
        if (error !== null) throw new GpuMemoryError(bytes, { cause: new Error(error.message) });
      }),
    );
    const buffer = new WebGpuBuffer(size, handle);
    this.#buffers.add(buffer);
    return buffer;
  }

  free(buffer: GpuBuffer): void {
    const known = buffer as WebGpuBuffer;
    if (!this.#buffers.delete(known)) return;
    known.handle.destroy();
    this.#bindGroups.clear();
  }

  upload(buffer: GpuBuffer, byteOffset: number, source: ArrayBufferView): void {
    if (source.byteLength === 0) return;
    this.#refuseWhenLost();
    const { handle } = buffer as WebGpuBuffer;
    const bytes = new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength);
    if (!(source.buffer instanceof SharedArrayBuffer)) {
      this.#device.queue.writeBuffer(handle, byteOffset, bytes);
      return;
    }
    // webgpu 0.6.2 ends the process when it is given shared memory: through a buffer that stays in the cache.
    for (let at = 0; at < bytes.byteLength; at += SHARED_CHUNK) {
      const part = bytes.subarray(at, at + SHARED_CHUNK);
      this.#chunk.set(part);
      this.#device.queue.writeBuffer(handle, byteOffset + at, this.#chunk, 0, part.byteLength);
    }
  }

  download(buffer: GpuBuffer, byteOffset: number, target: ArrayBufferView): Promise<void> {
    const coming = this.#download(buffer as WebGpuBuffer, byteOffset, target);
    this.#downloads.add(coming);
    const ended = () => this.#downloads.delete(coming);
    coming.then(ended, ended);
    return coming;
  }

  launch(commands: readonly Command[]): void {
    this.#refuseWhenLost();
    for (let at = 0; at < commands.length; at += COMMANDS_AT_ONCE) {
      this.#submit(commands.slice(at, at + COMMANDS_AT_ONCE));
    }
  }

  async finished(): Promise<void> {
    await this.#device.queue.onSubmittedWorkDone().catch((error) => {
      this.#failure ??= error;
    });
    await Promise.all(this.#checks);
    // Loss is told by a promise of its own, which may settle a little later.
    await Promise.resolve();
    const failure = this.#failure;
    this.#failure = undefined;
    this.#refuseWhenLost();
    if (failure !== undefined) throw failure;
  }

  memory(): { readonly held: number } {
    let held = 0;
    for (const { bytes } of this.#buffers) held += bytes;
    return { held };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled([...this.#checks, ...this.#downloads]);
    for (const { handle } of this.#buffers) handle.destroy();
    this.#scalars.destroy();
    this.#shared.onError.delete(this.#onError);
    this.#shared.release();
    this.#buffers.clear();
    this.#bindGroups.clear();
  }

  async #download({ handle }: WebGpuBuffer, byteOffset: number, target: ArrayBufferView): Promise<void> {
    if (target.byteLength === 0) return;
    this.#refuseWhenLost();
    const size = target.byteLength;
    const staging = this.#device.createBuffer({ size, usage: usage.mapRead | usage.copyTarget });
    try {
      const encoder = this.#device.createCommandEncoder();
      encoder.copyBufferToBuffer(handle, byteOffset, staging, 0, size);
      this.#device.queue.submit([encoder.finish()]);
      await staging.mapAsync(MAP_READ);
      // What came would be worth nothing if a buffer of it had found no room.
      await Promise.all(this.#checks);
      const bytes = new Uint8Array(target.buffer as ArrayBuffer, target.byteOffset, size);
      const mapped = new Uint8Array(staging.getMappedRange());
      for (let at = 0; at < size; at += MAPPED_CHUNK) {
        if (at > 0) await setImmediate();
        bytes.set(mapped.subarray(at, at + MAPPED_CHUNK), at);
      }
      // A device that is lost takes the memory away.
      if (mapped.byteLength !== size) throw new Error("The mapped memory is gone.");
      staging.unmap();
      if (this.#failure !== undefined) throw this.#failure;
    } catch (error) {
      throw await this.#failureOf(error);
    } finally {
      staging.destroy();
    }
  }

  #submit(commands: readonly Command[]): void {
    const used = commands.map((command, i) => this.#writeScalars(command, i));
    this.#device.queue.writeBuffer(this.#scalars, 0, this.#scalarWords, 0, (used.length * SCALARS_BYTES) / 4);
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    commands.forEach(({ kernel, buffers, scalars, count }, i) => {
      if (count === 0) return;
      const { pipeline, groups } = this.#pipelines.get(kernel);
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, this.#bindGroup(kernel, buffers), [i * SCALARS_BYTES]);
      pass.dispatchWorkgroups(groups(count, scalars));
    });
    pass.end();
    this.#device.queue.submit([encoder.finish()]);
  }

  #writeScalars({ kernel, dtype, scalars, count }: Command, i: number): number {
    if (dtype !== "float32") throw new TypeError(`WebGPU has no ${dtype}.`);
    const at = (i * SCALARS_BYTES) / 4;
    this.#scalarWords[at] = count;
    gpuKernels[kernel].scalars.forEach(({ type }, k) => {
      const into = type === "word" ? this.#scalarWords : this.#scalarElements;
      into[at + 1 + k] = scalars[k]!;
    });
    return at;
  }

  #bindGroup(kernel: Command["kernel"], bindings: readonly Binding[]): GPUBindGroup {
    let key: string = kernel;
    for (const { buffer, offset, bytes } of bindings)
      key += `,${(buffer as WebGpuBuffer).id}+${offset}:${bytes}`;
    const known = this.#bindGroups.get(key);
    if (known !== undefined) return known;
    const entries = bindings.map(({ buffer, offset, bytes }, binding) => ({
      binding,
      resource: { buffer: (buffer as WebGpuBuffer).handle, offset, size: bytes },
    }));
    entries.push({ binding: entries.length, resource: { buffer: this.#scalars, offset: 0, size: 64 } });
    const group = this.#device.createBindGroup({ layout: this.#pipelines.get(kernel).layout, entries });
    if (this.#bindGroups.size >= MOST_BIND_GROUPS) this.#bindGroups.clear();
    this.#bindGroups.set(key, group);
    return group;
  }

  protected handleOf(buffer: GpuBuffer): GPUBuffer {
    return (buffer as WebGpuBuffer).handle;
  }

  /** What it rejects with is a failure of the next `finished`. */
  protected check(check: Promise<unknown>): void {
    const caught = check
      .catch((error) => {
        this.#failure ??= error;
      })
      .finally(() => this.#checks.delete(caught));
    this.#checks.add(caught);
  }

  async #failureOf(error: unknown): Promise<unknown> {
    await Promise.resolve();
    if (this.#lostReason !== undefined) return new DeviceLostError(this.#lostReason, { cause: error });
    return this.#failure ?? error;
  }

  #refuseWhenLost(): void {
    if (this.#lostReason !== undefined) throw new DeviceLostError(this.#lostReason);
  }
}

const MOST_BIND_GROUPS = 4096;
/** Bytes copied between two turns of the event loop: some tenths of a millisecond. */
const MAPPED_CHUNK = 2 << 20;
