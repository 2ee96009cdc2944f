/// <reference types="@webgpu/types" />
import type { Command, GpuBuffer, TensorCopy } from "../backend/contract.js";
import { WebGpuBackend } from "../webgpu/backend.js";
import type { SharedDevice } from "../webgpu/device.js";
import type { Tf, TfTensor } from "./tf.js";

/** The back end of tfjs-backend-webgpu 4, as far as it is used here. */
export interface TfWebGpuBackend {
  readonly device: GPUDevice;
  /** Commands that are recorded and not submitted yet. */
  readonly commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
  /** What is known of the values of tensors, by their `dataId`. */
  readonly tensorMap: {
    has(dataId: object): boolean;
    get(dataId: object): {
      values: ArrayLike<number> | null;
      /** Where the values are on the device; null while they are not. A texture, too. */
      readonly resource?: GPUBuffer | GPUTexture | null;
      /** Whether the resource is not of tfjs: its owner may write it. */
      readonly external?: boolean;
    };
  };
}

/**
 * WebGPU on the device that tfjs computes on. Both put their work into the device's one queue, so that what is submitted
 * first is done first. tfjs submits late, in batches: whatever it has recorded goes before our writes, so that the
 * order is that of the calls.
 */
export class SharingBackend extends WebGpuBackend {
  readonly #tf: Tf;
  readonly #backend: TfWebGpuBackend;
  readonly #device: GPUDevice;
  /** The tensors that were given away over each buffer. */
  readonly #tensors = new Map<GpuBuffer, TfTensor[]>();

  constructor(shared: SharedDevice, tf: Tf, backend: TfWebGpuBackend, name: string) {
    super(shared, `WebGPU, the device of ${name}`);
    this.#tf = tf;
    this.#backend = backend;
    this.#device = shared.device;
  }

  override upload(buffer: GpuBuffer, byteOffset: number, source: ArrayBufferView): void {
    this.#inOrder(() => super.upload(buffer, byteOffset, source));
    this.#forget(this.#tensors.get(buffer) ?? []);
  }

  override launch(commands: readonly Command[]): void {
    this.#inOrder(() => super.launch(commands));
    // What a step wrote is not asked for: reading a tensor again costs little beside it.
    for (const tensors of this.#tensors.values()) this.#forget(tensors);
  }

  override download(buffer: GpuBuffer, byteOffset: number, target: ArrayBufferView): Promise<void> {
    return this.#inOrder(() => super.download(buffer, byteOffset, target));
  }

  tensorOver(buffer: GpuBuffer, elements: number, shape: readonly number[]): object {
    const handle = this.handleOf(buffer);
    // tfjs reads as much as the buffer's size: without the padding that our kernels have at the end.
    if (handle.size !== elements * 4) Object.defineProperty(handle, "size", { value: elements * 4 });
    const tensor = this.#tf.tensor({ buffer: handle, zeroCopy: true }, [...shape], "float32");
    const living = (this.#tensors.get(buffer) ?? []).filter(({ isDisposed }) => !isDisposed);
    this.#tensors.set(buffer, [...living, tensor]);
    return tensor;
  }

  hasTensor(tensor: object): boolean {
    return this.#bufferOf(tensor) !== undefined;
  }

  copyTensors(copies: readonly TensorCopy[]): void {
    this.#inOrder(() => {
      const encoder = this.#device.createCommandEncoder();
      for (const { tensor, from, bytes, buffer, offset } of copies) {
        encoder.copyBufferToBuffer(this.#bufferOf(tensor)!, from, this.handleOf(buffer), offset, bytes);
      }
      this.#device.queue.submit([encoder.finish()]);
    });
  }

  override free(buffer: GpuBuffer): void {
    this.#end(this.#tensors.get(buffer));
    this.#tensors.delete(buffer);
    super.free(buffer);
  }

  override async close(): Promise<void> {
    for (const tensors of this.#tensors.values()) this.#end(tensors);
    this.#tensors.clear();
    await super.close();
  }

  /** The buffer of tfjs that has a tensor's values, which do not change; undefined when there is none. */
  #bufferOf(tensor: object): GPUBuffer | undefined {
    const { tensorMap } = this.#backend;
    const { dataId, isDisposed, size } = tensor as TfTensor;
    if (isDisposed || !tensorMap.has(dataId)) return undefined;
    const { resource, external } = tensorMap.get(dataId);
    // Of a texture there is no size, and buffers of ours, which steps write, are not tfjs' own.
    if (external || !resource || !("size" in resource) || resource.size < size * 4) return undefined;
    return resource;
  }

  /** Does something to the device after what tfjs has recorded; errors of ours are not taken for the application's. */
  #inOrder<T>(use: () => T): T {
    this.#submitOfTf();
    this.#device.pushErrorScope("validation");
    try {
      return use();
    } finally {
      this.check(
        this.#device.popErrorScope().then((error) => {
          if (error !== null) throw new Error(`WebGPU: ${error.message}`);
        }),
      );
    }
  }

  #submitOfTf(): void {
    if (this.#backend.commandEncoder === null) return;
    this.#backend.endComputePassEncoder();
    this.#backend.submitQueue();
  }

  /** tfjs keeps the values of a tensor that it has read once. */
  #forget(tensors: readonly TfTensor[]): void {
    const { tensorMap } = this.#backend;
    for (const { dataId, isDisposed } of tensors) {
      if (!isDisposed && tensorMap.has(dataId)) tensorMap.get(dataId).values = null;
    }
  }

  /** Tensors over a buffer that goes: a disposed one throws when it is used, a buffer that is gone does not. */
  #end(tensors: readonly TfTensor[] = []): void {
    if (tensors.length === 0) return;
    this.#submitOfTf();
    for (const tensor of tensors) if (!tensor.isDisposed) tensor.dispose();
  }
}
