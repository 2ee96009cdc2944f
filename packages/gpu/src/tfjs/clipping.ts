import { type ClipPlan, globalScale, type HostMemory, type UpdatePlan } from "@shardgrad/workers";
import { normOf } from "./norms.js";
import type { Scalars } from "./scalars.js";
import type { Tf, TfTensor } from "./tf.js";

/** Clips a gradient. */
export type Clip = (gradient: TfTensor) => TfTensor;

export interface Clipping {
  /** How the gradient of an update is clipped. */
  clipOf(update: UpdatePlan): Clip;
  /** Norm over all gradients, when the step clips by it. */
  readonly globalNorm?: number;
}

export function clippingOf(
  tf: Tf,
  plan: ClipPlan,
  updates: readonly UpdatePlan[],
  host: HostMemory,
  scalars: Scalars,
): Clipping {
  if (plan.kind === "globalNorm") {
    const globalNorm = normOf(updates, host);
    const factor = globalScale(globalNorm, plan.limit, "float32");
    return { clipOf: () => clipBy(tf, { kind: "scale", factor }, scalars), globalNorm };
  }
  if (plan.kind === "norm") {
    return { clipOf: (update) => clipByNorm(tf, plan.limit, normOf([update], host), scalars) };
  }
  return { clipOf: () => clipBy(tf, plan, scalars) };
}

/**
 * Where one of two numbers is NaN, some back ends (wasm) give the second by `minimum` and `maximum`: the one that can be
 * NaN comes first. `clipByValue` loses a NaN there.
 */
export function clipBy(
  tf: Tf,
  clip: Exclude<ClipPlan, { kind: "norm" | "globalNorm" }>,
  scalars: Scalars,
): Clip {
  if (clip.kind === "none") return (gradient) => gradient;
  if (clip.kind === "scale") return (gradient) => tf.mul(gradient, scalars.of(clip.factor));
  const [upper, lower] = [scalars.of(clip.limit), scalars.of(-clip.limit)];
  return (gradient) => tf.maximum(tf.minimum(gradient, upper), lower);
}

export function clipByNorm(tf: Tf, limit: number, norm: number, scalars: Scalars): Clip {
  const bound = Math.fround(limit);
  const divisor = Math.max(norm, bound);
  return (gradient) => tf.div(tf.mul(gradient, scalars.of(bound)), scalars.of(divisor));
}
