import type { Tf, TfTensor } from "./tf.js";

/** Numbers as tensors, each made once. They outlive the scope that they are made in: `dispose` ends them. */
export class Scalars {
  readonly #tf: Tf;
  readonly #made = new Map<number, TfTensor>();

  constructor(tf: Tf) {
    this.#tf = tf;
  }

  /** A tensor of shape [1]. */
  of(value: number): TfTensor {
    const known = this.#made.get(value);
    if (known !== undefined) return known;
    const made = this.#tf.keep(this.#tf.tensor(Float32Array.of(value), [1], "float32"));
    this.#made.set(value, made);
    return made;
  }

  dispose(): void {
    for (const tensor of this.#made.values()) tensor.dispose();
    this.#made.clear();
  }
}
