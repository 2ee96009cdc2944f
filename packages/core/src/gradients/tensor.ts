/**
 * A tensor of TensorFlow.js as far as steps use one: a shape, not an import, so that the tensors of any tfjs 4 fit and core
 * depends on none. Gradients may be such tensors; see docs/tfjs.md.
 *
 * @example
 * import { Adagrad, Variable } from "@shardgrad/core";
 * import * as tf from "@tensorflow/tfjs-core";
 * import "@tensorflow/tfjs-backend-wasm";
 * await tf.setBackend("wasm");
 * const weights = Variable.ones([2]);
 * const gradient = tf.tensor1d([0.5, -1]);
 * const step = new Adagrad().applyGradients([[gradient, weights]]);
 * gradient.dispose(); // the step has what it needs
 * await step;
 * console.log(weights.data[0] < 1, weights.data[1] > 1); // true true
 */
export interface TensorLike {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly isDisposed: boolean;
  /** Whether tfjs' `tidy` leaves it alone. */
  kept: boolean;
  clone(): TensorLike;
  data(): Promise<ArrayLike<number>>;
  dataSync(): ArrayLike<number>;
  dispose(): void;
}

/** Structural, as an application may have any copy of tfjs. */
export function isTensor(value: unknown): value is TensorLike {
  if (typeof value !== "object" || value === null) return false;
  const { shape, dtype, isDisposed, clone, data, dispose } = value as Partial<TensorLike>;
  return (
    Array.isArray(shape) &&
    typeof dtype === "string" &&
    typeof isDisposed === "boolean" &&
    [clone, data, dispose].every((method) => typeof method === "function")
  );
}
