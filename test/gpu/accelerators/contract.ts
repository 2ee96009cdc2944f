import type { Runtime, RuntimeOptions } from "@shardgrad/core";

/** When a device can fail: before a launch, before values come down, while a step is waited for. */
export type Moment = "launch" | "download" | "finished";

/** A device that goes away when a test says so. */
export interface Troubled {
  /** `silent`: nobody is told before the next call. */
  lose(reason: string, silent?: boolean): void;
  before: (what: Moment) => void;
  /** What was launched, by the names of the kernels; empty where there are none. */
  readonly launched: readonly (readonly string[])[];
}

/** What a device has less of than the real one. */
export interface Limits {
  /** Largest part of a buffer that a kernel can be given. */
  readonly bindingBytes?: number;
  /** Bytes after which there is no room. */
  readonly totalBytes?: number;
}

/** A call of the driver that can be made to fail. */
export interface DriverCall {
  readonly name: string;
  /** Only some steps make it, and its failure may be survived: for want of memory, or while everything is let go. */
  readonly rare?: boolean;
}

/** What an accelerator cannot do, each in one line; the tests say what it does instead. */
export interface Cannot {
  readonly float64?: string;
  readonly lazy?: string;
  readonly limits?: string;
  readonly packing?: string;
  /** Asks for memory only when values go up, and cannot tell want of it from other errors. */
  readonly room?: string;
}

/** One accelerator for the tests that all of them pass. */
export interface TestedAccelerator {
  readonly kind: "webgpu" | "cuda" | "tfjs";
  readonly description: RegExp;
  readonly cannot: Cannot;
  /** Row-wise accumulators have the CPU's bits, too. */
  readonly exactMeans: boolean;
  /** What a runtime needs to find it. */
  readonly options: RuntimeOptions;
  /** A runtime on it, and what a test can trouble. */
  troubled(limits?: Limits, options?: RuntimeOptions): Promise<{ runtime: Runtime; device: Troubled }>;
  /** Ways in which there is none: what a runtime is given then, and the reason. Opened in the order of the list. */
  readonly absent: Readonly<Record<string, { prepare(): RuntimeOptions; readonly reason: RegExp }>>;
  /** The calls of its driver. */
  readonly calls: readonly DriverCall[];
  /** The call by which values come down. */
  readonly comingDown: string;
  /** Makes a call fail: the next one of this name, or the one after `after` others. */
  fail(call: string, after: number): void;
  /** Whether the call that was to fail has been made. */
  readonly failed: boolean;
  /** What a failed call says. */
  readonly failure: RegExp;
  /** Takes the device away for real. */
  loseForReal(): void | Promise<void>;
  /** Nothing fails any more, and the device is as new. Nothing may be open on it. */
  reset(): void;
  /** Things of the driver that were not given back. */
  left(): number;
}
