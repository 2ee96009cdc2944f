import { ALIGNMENT, type Binding, type Command, type GpuBackend, gpuKernels } from "@shardgrad/gpu";

/** Arrays of a test on a device, and launches over them by the names of the table. */
export class DeviceArrays {
  constructor(readonly backend: GpuBackend) {}

  /** A float32 array in a buffer of its own, with padding as kernels may expect it. */
  elements(values: ArrayLike<number>): Binding {
    return this.#upload(Float32Array.from(values));
  }

  words(values: ArrayLike<number>): Binding {
    return this.#upload(Uint32Array.from(values));
  }

  /** Zeroed bytes. */
  room(bytes: number): Binding {
    const padded = Math.max(Math.ceil(bytes / ALIGNMENT), 1) * ALIGNMENT;
    return { buffer: this.backend.allocate(padded), offset: 0, bytes: padded };
  }

  launch(
    kernel: Command["kernel"],
    buffers: Readonly<Record<string, Binding>>,
    scalars: Readonly<Record<string, number>>,
    count: number,
  ): void {
    const table = gpuKernels[kernel];
    this.backend.launch([
      {
        kernel,
        dtype: "float32",
        buffers: table.buffers.map(({ name }) => buffers[name]!),
        scalars: table.scalars.map(({ name }) => scalars[name]!),
        count,
      },
    ]);
  }

  async read(binding: Binding, count: number): Promise<Float32Array> {
    const target = new Float32Array(count);
    await this.backend.download(binding.buffer, binding.offset, target);
    return target;
  }

  free(...bindings: readonly Binding[]): void {
    for (const { buffer } of bindings) this.backend.free(buffer);
  }

  #upload(values: Float32Array | Uint32Array): Binding {
    const binding = this.room(values.byteLength);
    this.backend.upload(binding.buffer, 0, values);
    return binding;
  }
}
