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
  /** Who is told of errors that come after the call that caused them: they do not say whose call it was. */
  readonly onError = new Set<(error: GPUError) => void>();
  readonly #adapter: GPUAdapter | undefined;
  #users = 0;
  #gone = false;

  /** @param adapter - held as long as the device; none for a device that is somebody else's and stays open */
  constructor(device: GPUDevice, info: GPUAdapterInfo, adapter?: GPUAdapter) {
    this.#adapter = adapter;
    this.device = device;
    this.info = info;
    this.pipelines = new Pipelines(device);
    // Of a device that others use too, an error may be theirs.
    if (adapter !== undefined) {
      device.addEventListener("uncapturederror", (event) => {
        event.preventDefault();
        for (const tell of this.onError) tell(event.error);
      });
    }
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

  /** The last one to leave destroys the device, unless it is somebody else's. */
  release(): void {
    this.#users--;
    if (this.#users > 0 || this.#adapter === undefined) return;
    this.#gone = true;
    this.device.destroy();
  }
}
