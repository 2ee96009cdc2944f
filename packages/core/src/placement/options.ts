import type { Accelerator } from "@shardgrad/workers";
import type { openAccelerator } from "./open.js";

/** What device a runtime is to look for, and how. */
export interface PlacedDeviceOptions {
  /** What to look for, in this order. */
  readonly kinds: readonly Accelerator["kind"][];
  /** The device was asked for by name: everything goes there that can, and its absence is told. */
  readonly named: boolean;
  /** Takes a device that is software. */
  readonly software: boolean;
  /** The tfjs of the application. */
  readonly tf?: object | undefined;
  /** Most bytes of gradients in the journal; by default 512 MiB, or what lives on the device if that is more. */
  readonly journalBytes?: number | undefined;
  /** How it is opened; by the GPU package if not given. */
  readonly open?: typeof openAccelerator | undefined;
}

/** Who is told what becomes of it. */
export interface PlacedDeviceEvents {
  lost(device: string, reason: string): void;
  changed(from: string, to: string, reason: string): void;
}
