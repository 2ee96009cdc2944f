import type { Tfjs } from "./tfjs.js";

type Tensor = ReturnType<Tfjs["tensor"]>;

/** A tensor whose values come to the host when a test lets them, or do not. */
export interface GatedTensor {
  readonly tensor: Tensor;
  /** Resolves when somebody waits for the values. */
  readonly asked: Promise<void>;
  open(): void;
  refuse(error: Error): void;
}

/** A float32 tensor, whose clones are gated too, in another way than its values on the device. */
export function gatedTensor(tf: Tfjs, values: ArrayLike<number>, shape: readonly number[]): GatedTensor {
  const tensor = tf.tidy(() => tf.mul(tf.tensor(Float32Array.from(values), [...shape]), 1)) as Tensor;
  let open = () => {};
  let refuse: (error: Error) => void = () => {};
  const gate = new Promise<void>((resolve, reject) => {
    open = resolve;
    refuse = reject;
  });
  gate.catch(() => {});
  let ask = () => {};
  const asked = new Promise<void>((resolve) => {
    ask = resolve;
  });
  const { clone } = tensor;
  tensor.clone = function cloned(this: Tensor) {
    const made = clone.call(tensor);
    const { data } = made;
    made.data = async () => {
      ask();
      const coming = data.call(made);
      await gate;
      return (await coming) as never;
    };
    return made as never;
  };
  return { tensor, asked, open, refuse };
}
