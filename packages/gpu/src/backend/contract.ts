import type { DType } from "@shardgrad/workers";
import type { GpuKernelName } from "../kernels/table.js";

/**
 * What a back end (CUDA, WebGPU) gives the executor: buffers, copies and launches of the kernels in `kernels/table.ts`.
 * Everything that is called is ordered: a launch sees the uploads before it, a download sees the launches before it.
 */
export interface GpuBackend {
  readonly kind: "cuda" | "webgpu";
  /** The device's name and what drives it, for people. */
  readonly description: string;
  /** The device is a processor that pretends: never chosen by itself. */
  readonly isSoftware: boolean;
  readonly limits: GpuLimits;
  /** The dtypes of which variables can live on the device. */
  readonly dtypes: readonly DType[];
  /** Resolves when the device is gone for good; never rejects, and never resolves because of `close`. */
  readonly lost: Promise<DeviceLost>;
  /**
   * A zeroed buffer. @throws GpuMemoryError when the device has no room; a back end that learns of it only later rejects
   * the next `finished` with it
   */
  allocate(bytes: number): GpuBuffer;
  free(buffer: GpuBuffer): void;
  /** Takes a copy of the source before it returns. Offsets and lengths are multiples of 4 bytes. */
  upload(buffer: GpuBuffer, byteOffset: number, source: ArrayBufferView): void;
  /**
   * As `upload`, but without a copy where that is possible: the source must stay as it is until everything enqueued has
   * ended. Back ends that cannot do it do not have it.
   */
  uploadInPlace?(buffer: GpuBuffer, byteOffset: number, source: ArrayBufferView): void;
  /**
   * Does beforehand, with turns of the event loop, what would hold it up in the first `uploadInPlace` of a source. May be
   * left out. Rejects with DeviceLostError.
   */
  readyInPlace?(source: ArrayBufferView): Promise<void>;
  /** Rejects with DeviceLostError when the device is lost before the target is filled; it may be half filled then. */
  download(buffer: GpuBuffer, byteOffset: number, target: ArrayBufferView): Promise<void>;
  /**
   * For a back end on a device of the application's tfjs: a tensor of that tfjs over the first elements of a buffer,
   * without a copy. It belongs to the application; `free` of the buffer ends it.
   */
  tensorOver?(buffer: GpuBuffer, elements: number, shape: readonly number[]): object;
  /**
   * For a back end on a device of the application's tfjs: whether a tensor has its values in a buffer there which nobody
   * writes.
   */
  hasTensor?(tensor: object): boolean;
  /** Copies elements of tensors, all of which it has, into buffers. Offsets and lengths are multiples of 4 bytes. */
  copyTensors?(copies: readonly TensorCopy[]): void;
  /** Enqueues commands in order, each after the writes of those before it. Returns without waiting. */
  launch(commands: readonly Command[]): void;
  /** Resolves when everything enqueued has ended; rejects with DeviceLostError. */
  finished(): Promise<void>;
  /** Bytes; `free` where the driver tells. */
  memory(): { readonly free?: number; readonly held: number };
  /** Frees everything. The process can end after it. */
  close(): Promise<void>;
}

/** What a device takes at most, in bytes. */
export interface GpuLimits {
  /** Largest buffer. */
  readonly bufferBytes: number;
  /** Largest part of a buffer that a kernel can be given; `bufferBytes` where there is no such limit. */
  readonly bindingBytes: number;
}

/** Why a device went away, in a line. */
export interface DeviceLost {
  readonly reason: string;
}

/** A buffer of the device; what else is in it only its back end knows. */
export interface GpuBuffer {
  readonly bytes: number;
}

/** Bytes of a tensor of tfjs that go to a place of a buffer. */
export interface TensorCopy {
  readonly tensor: object;
  readonly from: number;
  readonly bytes: number;
  readonly buffer: GpuBuffer;
  readonly offset: number;
}

/** A part of a buffer that a kernel is given. */
export interface Binding {
  readonly buffer: GpuBuffer;
  /** A multiple of `ALIGNMENT`. */
  readonly offset: number;
  readonly bytes: number;
}

/** One launch of one kernel. Plain data. */
export interface Command {
  readonly kernel: GpuKernelName;
  /** The element type of the arrays that the kernel works on; any that the device has where it works on words alone. */
  readonly dtype: DType;
  /** In the order of the table; those that the kernel writes overlap no other. */
  readonly buffers: readonly Binding[];
  /** In the order of the table. */
  readonly scalars: readonly number[];
  /** Units of work: what a unit is the table says. Any number: kernels stride over them. */
  readonly count: number;
}

/**
 * Arrays on the device begin at multiples of this many bytes and are padded to it with elements that kernels may
 * read and write as they like.
 */
export const ALIGNMENT = 256;
