import type { Variable } from "../variable/variable.js";

/** What an optimizer's `iteration` event carries: one for each completed step. */
export interface IterationEvent {
  /** Steps completed, this one included. */
  readonly iterations: number;
  /** The rate this step used. */
  readonly learningRate: number;
  /** From the start of the step to its end, in milliseconds; waiting in the queue not included. */
  readonly durationMs: number;
  /** Where it ran: `hybrid` for a step of which a part ran on a device. */
  readonly device: "inline" | "workers" | "cuda" | "webgpu" | "tfjs" | "hybrid";
  readonly variables: readonly Variable[];
  /** Gradient elements: the size of dense ones, the stored values of indexed slices. */
  readonly elements: number;
  /** Norm over all gradients before clipping; only with `globalClipnorm`. */
  readonly globalNorm?: number;
}

/** Events of an optimizer. `emaOverwrite` comes before the `iteration` of the same step. */
export interface OptimizerEvents {
  /** The optimizer made its slots. */
  build: { readonly variables: readonly Variable[] };
  iteration: IterationEvent;
  /** The variables of the step took their averages' values. */
  emaOverwrite: { readonly iterations: number; readonly variables: readonly Variable[] };
  /** `finalizeVariableValues` copied the averages. */
  finalize: { readonly iterations: number; readonly variables: readonly Variable[] };
  /** A listener failed. */
  error: unknown;
}
