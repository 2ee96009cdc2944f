import { Runtime, type RuntimeOptions } from "@shardgrad/core";
import {
  type Command,
  DeviceLostError,
  type GpuBackend,
  type GpuBuffer,
  GpuExecutor,
  GpuMemoryError,
} from "@shardgrad/gpu";
import type { HostMemory } from "@shardgrad/workers";
import type { Limits, Moment, Troubled } from "./contract.js";

/** A back end that has less than the real one, and that fails when a test says so. */
class TroubledBackend implements GpuBackend, Troubled {
  readonly kind;
  readonly description;
  readonly isSoftware;
  readonly dtypes;
  readonly limits;
  readonly lost: Promise<{ reason: string }>;
  /** What was launched, by the names of the kernels. */
  readonly launched: string[][] = [];
  readonly #backend: GpuBackend;
  readonly #totalBytes: number;
  readonly #breaks: ((reason: { reason: string }) => void)[] = [];
  #reason: string | undefined;
  /** Called before each launch, download and wait: a place to break it. */
  before: (what: Moment) => void = () => {};

  constructor(backend: GpuBackend, { bindingBytes, totalBytes = Number.POSITIVE_INFINITY }: Limits) {
    this.kind = backend.kind;
    this.description = backend.description;
    this.isSoftware = backend.isSoftware;
    this.dtypes = backend.dtypes;
    this.limits = { ...backend.limits, ...(bindingBytes === undefined ? {} : { bindingBytes }) };
    this.#backend = backend;
    this.#totalBytes = totalBytes;
    this.lost = new Promise((resolve) => this.#breaks.push(resolve));
  }

  /** The device goes away. `silent`: nobody is told before the next call. */
  lose(reason: string, silent = false): void {
    this.#reason = reason;
    if (!silent) for (const tell of this.#breaks) tell({ reason });
  }

  allocate(bytes: number): GpuBuffer {
    this.#check();
    if (this.memory().held + bytes > this.#totalBytes) throw new GpuMemoryError(bytes);
    return this.#backend.allocate(bytes);
  }

  free(buffer: GpuBuffer): void {
    this.#backend.free(buffer);
  }

  upload(buffer: GpuBuffer, byteOffset: number, source: ArrayBufferView): void {
    this.#check();
    this.#backend.upload(buffer, byteOffset, source);
  }

  async download(buffer: GpuBuffer, byteOffset: number, target: ArrayBufferView): Promise<void> {
    this.before("download");
    this.#check();
    await this.#backend.download(buffer, byteOffset, target);
    this.#check();
  }

  launch(commands: readonly Command[]): void {
    this.before("launch");
    this.#check();
    this.launched.push(commands.map(({ kernel }) => kernel));
    this.#backend.launch(commands);
  }

  async finished(): Promise<void> {
    this.before("finished");
    await this.#backend.finished();
    this.#check();
  }

  memory() {
    return this.#backend.memory();
  }

  close(): Promise<void> {
    return this.#backend.close();
  }

  #check(): void {
    if (this.#reason !== undefined) throw new DeviceLostError(this.#reason);
  }
}

/** A runtime on a back end that a test can trouble. */
export async function troubledRuntime(
  device: GpuBackend["kind"],
  open: () => Promise<GpuBackend | string>,
  limits: Limits = {},
  options: RuntimeOptions = {},
) {
  const opened = await open();
  if (typeof opened === "string") throw new Error(opened);
  const backend = new TroubledBackend(opened, limits);
  const runtime = new Runtime({
    device,
    threads: 0,
    ...options,
    [Symbol.for("shardgrad.openAccelerator")]: async ({ host }: { host: HostMemory }) =>
      new GpuExecutor(backend, host),
  } as RuntimeOptions);
  // Or a loss would be a warning of the process.
  return { device: backend, runtime: runtime.on("deviceChanged", () => {}) };
}
