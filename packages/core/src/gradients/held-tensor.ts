import type { TypedArray } from "@shardgrad/workers";
import { ArgumentError, DtypeError, GradientReadError, ShapeError } from "../errors/index.js";
import type { TensorLike } from "./tensor.js";

/** What a tensor is needed for. */
export interface TensorUse {
  /** As errors name it. */
  readonly argument: string;
  readonly dtype: "float32" | "int32";
}

/** @throws ArgumentError for a tensor that was disposed; DtypeError */
export function checkTensor(tensor: TensorLike, { argument, dtype }: TensorUse): void {
  if (tensor.isDisposed) {
    const message = `\`${argument}\`: the tensor was disposed.`;
    throw new ArgumentError({
      argument,
      received: tensor,
      expected: "a tensor that is not disposed",
      message,
    });
  }
  if (tensor.dtype !== dtype) {
    const expected = `a tensor of dtype ${dtype}`;
    const message = `\`${argument}\`: expected ${expected}, got one of ${tensor.dtype}`;
    throw new DtypeError({ argument, received: tensor, expected, message });
  }
}

/** @throws ShapeError */
export function checkTensorShape(tensor: TensorLike, shape: readonly number[], argument: string): void {
  if (tensor.shape.join() === shape.join()) return;
  const expected = `shape [${shape.join(", ")}], not [${tensor.shape.join(", ")}]`;
  throw new ShapeError({ argument, received: tensor, expected });
}

/**
 * A tensor that a step holds from its call on, whatever its owner and tfjs' `tidy` do with theirs, and its values, which
 * are on their way to the host from then on. tfjs' tensors do not change; those over memory that others write are read
 * in the order of the calls.
 */
export class HeldTensor {
  readonly tensor: TensorLike;
  /** Rejects with GradientReadError. */
  readonly values: Promise<TypedArray>;
  #isRead = false;
  #isReleased = false;

  /** @throws GradientReadError: tfjs cannot bring it to the back end that computes now */
  constructor(given: TensorLike, use: TensorUse) {
    try {
      this.tensor = given.clone();
    } catch (cause) {
      throw new GradientReadError(use.argument, { cause });
    }
    this.tensor.kept = true;
    this.values = read(this.tensor, use);
    // Looked at by the step, which may end before.
    this.values.then(this.#read, this.#read);
  }

  /** As soon as tfjs does not need it any more, either. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.#isRead) this.#dispose();
  }

  #read = (): void => {
    this.#isRead = true;
    if (this.#isReleased) this.#dispose();
  };

  #dispose(): void {
    // `tf.engine().reset()` may have taken it.
    if (!this.tensor.isDisposed) this.tensor.dispose();
  }
}

async function read(tensor: TensorLike, { argument, dtype }: TensorUse): Promise<TypedArray> {
  let values: ArrayLike<number>;
  try {
    values = await tensor.data();
  } catch (cause) {
    throw new GradientReadError(argument, { cause });
  }
  return asArray(values, tensor, { argument, dtype });
}

/**
 * The same at once, on the calling thread.
 * @throws GradientReadError where the back end cannot, as that on WebGPU in Node
 */
export function readSync(tensor: TensorLike, { argument, dtype }: TensorUse): TypedArray {
  let values: ArrayLike<number>;
  try {
    values = tensor.dataSync();
  } catch (cause) {
    throw new GradientReadError(argument, { cause, synchronous: true });
  }
  return asArray(values, tensor, { argument, dtype });
}

function asArray(values: ArrayLike<number>, tensor: TensorLike, { argument, dtype }: TensorUse): TypedArray {
  const size = tensor.shape.reduce((product, length) => product * length, 1);
  if (values?.length !== size) {
    const cause = new Error(`${values?.length} values came of a tensor of ${size}.`);
    throw new GradientReadError(argument, { cause });
  }
  const Class = dtype === "float32" ? Float32Array : Int32Array;
  return (values instanceof Class ? values : Class.from(values)) as TypedArray;
}
