import type { CpuDevice, MemoryPool } from "@shardgrad/workers";
import type { EventLoopShare } from "./event-loop-share.js";
import type { StepQueue } from "./step-queue.js";

/** Registered globally, so that a Runtime of another copy of this package is recognized. */
export const runtimeInternals: unique symbol = Symbol.for("shardgrad.runtime") as never;

/** What variables and optimizers use of a runtime. */
export interface RuntimeInternals {
  readonly memory: MemoryPool;
  readonly device: CpuDevice;
  readonly queue: StepQueue;
  readonly share: EventLoopShare;
}
