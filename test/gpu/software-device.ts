import { Runtime, type RuntimeOptions } from "@shardgrad/core";
import {
  type Command,
  DeviceLostError,
  type GpuBackend,
  type GpuBuffer,
  GpuExecutor,
  GpuMemoryError,
  openCuda,
  openWebGpu,
} from "@shardgrad/gpu";
import type { HostMemory } from "@shardgrad/workers";
import { useSoftwareVulkan } from "../support/software-vulkan.js";
import { StubCuda, stubCuda } from "./stub-cuda.js";

/** The stand-in for the NVIDIA driver, where this run of the tests is about CUDA. */
const stub = process.env.SHARDGRAD_TEST_DEVICE === "cuda" ? stubCuda() : undefined;

/** Why there is no software driver here; undefined where there is. */
export const missing = stub === undefined ? useSoftwareVulkan() : typeof stub === "string" ? stub : undefined;
if (missing === undefined && stub === undefined) {
  process.env.SHARDGRAD_SOFTWARE_DEVICE = "1";
  // Keeps the device, and what is compiled for it, from one runtime to the next.
  await openWebGpu({ software: true });
}
if (stub instanceof StubCuda) process.env.SHARDGRAD_CUDA_LIBRARY = stub.path;

export interface Trouble {
  /** Largest part of a buffer that a kernel can be given. */
  readonly bindingBytes?: number;
  /** Bytes after which there is no room. */
  readonly totalBytes?: number;
}

/** A back end that has less than the real one, and that fails when a test says so. */
export class TroubledBackend implements GpuBackend {
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
  before: (what: "launch" | "download" | "finished") => void = () => {};

  constructor(backend: GpuBackend, { bindingBytes, totalBytes = Number.POSITIVE_INFINITY }: Trouble) {
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

/** A runtime on the software device, and the back end that a test can trouble. */
export async function troubledRuntime(trouble: Trouble = {}, options: RuntimeOptions = {}) {
  const opened = stub === undefined ? await openWebGpu({ software: true }) : await openCuda();
  if (typeof opened === "string") throw new Error(opened);
  const backend = new TroubledBackend(opened, trouble);
  return { backend, runtime: runtimeOn(backend, options) };
}

export function runtimeOn(backend: GpuBackend, options: RuntimeOptions = {}): Runtime {
  const open = async ({ host }: { host: HostMemory }) => new GpuExecutor(backend, host);
  const runtime = new Runtime({
    device: stub === undefined ? "webgpu" : "cuda",
    threads: 0,
    ...options,
    [Symbol.for("shardgrad.openAccelerator")]: open,
  } as RuntimeOptions);
  // Or a loss would be a warning of the process.
  return runtime.on("deviceChanged", () => {});
}
