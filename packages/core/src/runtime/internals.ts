import type { MemoryPool } from "@shardgrad/workers";
import type { PlacedDevice, StepDevice } from "../placement/placed-device.js";
import type { EventLoopShare } from "./event-loop-share.js";
import type { StepQueue } from "./step-queue.js";

/** Registered globally, so that a Runtime of another copy of this package is recognized. */
export const runtimeInternals: unique symbol = Symbol.for("shardgrad.runtime") as never;

/** What variables and optimizers use of a runtime. */
export interface RuntimeInternals {
  readonly memory: MemoryPool;
  /** What executes steps: the CPU, or `placed`. */
  readonly device: StepDevice;
  /** The CPU together with an accelerator, once there is one; undefined when none may be used. */
  readonly placed: PlacedDevice | undefined;
  readonly queue: StepQueue;
  readonly share: EventLoopShare;
}
