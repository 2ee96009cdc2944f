import type { DType } from "../dtype.js";
import type { StepPlan, UpdatePlan } from "./contract.js";

/**
 * A device with a memory of its own that takes step plans: what core asks of a GPU package, and what a GPU package
 * gives. Arrays are named by memory and byte offset, as plans name them; once there, they stay until they are dropped.
 * Types only.
 */
export interface Accelerator {
  readonly kind: "cuda" | "webgpu" | "tfjs";
  /** The device's name and what drives it, for people. */
  readonly description: string;
  /** A processor that pretends: taken only when it was asked for by name. */
  readonly isSoftware: boolean;
  /** Resolves when the device is gone with everything on it; never rejects. */
  readonly lost: Promise<{ readonly reason: string }>;
  /** Why an update cannot run here; undefined when it can. */
  refusal(update: UpdatePlan): string | undefined;
  /** Changes whenever an array gets room here or loses it; undefined where nobody counts. */
  readonly generation?: number;
  /** Whether all arrays of the updates have their room here. */
  holds(updates: readonly UpdatePlan[]): boolean;
  /** Bytes that the arrays of an update take. */
  bytesOf(update: UpdatePlan): number;
  /** Makes room for the arrays of the updates. Rejects when there is none: nothing has changed. */
  prepare(updates: readonly UpdatePlan[]): Promise<void>;
  /**
   * Does beforehand, with turns of the event loop, what would hold it up in `launch`, of which the plan's updates are then
   * a part. May be left out. Changes nothing that others see.
   */
  stage?(plan: StepPlan): Promise<void>;
  /**
   * Enqueues a step over arrays that have their room; those that the host has written since go up first. Gradients are
   * copied before it returns, or with `lasting` must stay as they are until `settled` resolves. Throws before anything is
   * enqueued, or not at all. Lazy blocks stay with the host: rows of tables with lazy averages come with what they have
   * missed (`behind`), and the caller notes that they have it.
   */
  launch(plan: StepPlan, lasting?: boolean): void;
  /**
   * For a device that the application's tfjs computes on: whether `launch` takes a plan while gradients of it are on their
   * way to the host (`plan.arriving`), from their tensors. The answer is for this turn of the event loop.
   */
  takesTensors?(plan: StepPlan): boolean;
  /** Resolves when everything launched has ended, with the global norm of the last step that clips by one. */
  settled(): Promise<{ readonly globalNorm?: number }>;
  /** The host has written, or may write, an array. */
  changed(memory: number, offset: number): void;
  /** Fills a target of the array's size with the array as it is after everything launched. */
  download(memory: number, offset: number, target: Uint8Array): Promise<void>;
  /**
   * Fills a target with rows of an array, as they are after everything launched.
   * @param rowSize - elements of a row
   * @param rows - row numbers within the array
   */
  gather(
    memory: number,
    offset: number,
    rowSize: number,
    rows: Uint32Array,
    target: Uint8Array,
  ): Promise<void>;
  /**
   * For a device that the application's tfjs computes on: a tensor of that tfjs with the values of an array, after
   * everything launched. The array gets its room here if it has none. Or why there can be no tensor, in one line.
   * Rejects as `prepare`.
   */
  tensor?(array: SharedArray, shape: readonly number[]): Promise<object | string>;
  /** Gives an array's room back. */
  drop(memory: number, offset: number): void;
  memoryUse(): { readonly held: number; readonly free?: number };
  close(): Promise<void>;
}

/** An array that an application is given a tensor of. */
export interface SharedArray {
  readonly memory: number;
  readonly offset: number;
  readonly dtype: DType;
  /** Elements of all, and of a row. */
  readonly count: number;
  readonly rowSize: number;
}

/** How an accelerator reads the host's arrays. */
export interface HostMemory {
  /** Live bytes of a memory. */
  bytes(memory: number, offset: number, length: number): Uint8Array;
}

/** What a GPU package exports for core. */
export interface AcceleratorPackage {
  /**
   * The first device that works, in the order of `kinds`; or why there is none, one line for each that was tried.
   */
  openAccelerator(options: OpenOptions): Promise<Accelerator | readonly string[]>;
}

/** What a GPU package is asked for: the first of `kinds` that works. */
export interface OpenOptions {
  readonly kinds: readonly Accelerator["kind"][];
  readonly host: HostMemory;
  /** Takes software devices too. */
  readonly software: boolean;
  /** The tfjs of the application, for the kind `tfjs`. */
  readonly tf?: object | undefined;
}
