import type { ClipPlan } from "@shardgrad/workers";
import type { Scalars } from "./scalars.js";
import { sumOfSquares } from "./sums.js";
import type { Tf, TfTensor } from "./tf.js";

/** Clips a gradient. */
export type Clip = (gradient: TfTensor) => TfTensor;

/**
 * Where one of two numbers is NaN, some back ends (wasm) give the second by `minimum` and `maximum`: the one that can be
 * NaN comes first. `clipByValue` loses a NaN there.
 */
export function clipByHost(
  tf: Tf,
  clip: Exclude<ClipPlan, { kind: "norm" | "globalNorm" }>,
  scalars: Scalars,
): Clip {
  if (clip.kind === "none") return (gradient) => gradient;
  if (clip.kind === "scale") return (gradient) => tf.mul(gradient, scalars.of(clip.factor));
  const [upper, lower] = [scalars.of(clip.limit), scalars.of(-clip.limit)];
  return (gradient) => tf.maximum(tf.minimum(gradient, upper), lower);
}

/** Clips by the norm of gradients that are there; with that norm. A step without gradients has the norm 0. */
export function clipByNorm(
  tf: Tf,
  { kind, limit }: Extract<ClipPlan, { kind: "norm" | "globalNorm" }>,
  gradients: readonly TfTensor[],
  scalars: Scalars,
): { readonly clip: Clip; readonly norm: TfTensor } {
  if (gradients.length === 0) {
    return { clip: (gradient) => gradient, norm: tf.tensor(Float32Array.of(0), [1], "float32") };
  }
  const norm = tf.sqrt(sumOfSquares(tf, gradients));
  const bound = scalars.of(limit);
  if (kind === "norm") {
    const divisor = tf.maximum(norm, bound);
    return { clip: (gradient) => tf.div(tf.mul(gradient, bound), divisor), norm };
  }
  const one = scalars.of(1);
  const scale = tf.mul(bound, tf.minimum(tf.div(one, norm), tf.div(one, bound)));
  // NaN where the norm is not finite, else unchanged.
  const checked = tf.add(scale, tf.sub(norm, norm));
  return { clip: (gradient) => tf.mul(gradient, checked), norm };
}
