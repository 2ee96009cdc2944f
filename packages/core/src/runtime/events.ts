import type { Runtime } from "./runtime.js";

/** Events of a runtime. */
export interface RuntimeEvents {
  /** The last step of the queue has ended. */
  drain: { readonly runtime: Runtime };
  /** A thread ended unexpectedly; it is replaced before the next step that needs it. */
  workerLost: { readonly lane: number; readonly runtime: Runtime };
  /** A device went away, or failed; steps go on on the CPU with everything that was done. */
  deviceLost: { readonly device: string; readonly reason: string; readonly runtime: Runtime };
  /** Steps run elsewhere from now on, or a device that was asked for cannot be had. */
  deviceChanged: {
    readonly from: string;
    readonly to: string;
    readonly reason: string;
    readonly runtime: Runtime;
  };
  /** A listener failed. */
  error: unknown;
}
