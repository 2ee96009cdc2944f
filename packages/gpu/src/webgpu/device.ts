/// <reference types="@webgpu/types" />
import { Pipelines } from "./pipelines.js";

/**
 * A device with what is compiled for it, shared by all runtimes of the process: SwiftShader crashes when two of its
 * devices work in one process, and memory and compiled kernels are better not held twice.
 */
export class SharedDevice {
  readonly device: GPUDevice;
  readonly info: GPUAdapterInfo;
  readonly pipelines: Pipelines;
  /** Held as long as the device. */
  readonly adapter: GPUAdapter;
  /** Who is told of errors that come after the call that caused them: they do not say whose call it was. */
  readonly onError = new Set<(error: GPUError) => void>();
  #users = 0;
  #gone = false;

  constructor(adapter: GPUAdapter, device: GPUDevice) {
    this.adapter = adapter;
    this.device = device;
    this.info = adapter.info;
    this.pipelines = new Pipelines(device);
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      for (const tell of this.onError) tell(event.error);
    });
    void device.lost.then(() => {
      this.#gone = true;
    });
  }

  /** Whether it can take another user. */
  get isOpen(): boolean {
    return !this.#gone;
  }

  acquire(): this {
    this.#users++;
    return this;
  }

  /** The last one to leave destroys the device. */
  release(): void {
    this.#users--;
    if (this.#users > 0) return;
    this.#gone = true;
    this.device.destroy();
  }
}
