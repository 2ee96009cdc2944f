import type { Tf, TfTensor } from "./tf.js";

/**
 * A matrix of float32 numbers that lives in tfjs from step to step: what updates read and change. Neither the
 * application's `tidy` nor its `disposeVariables` reaches it. Tensors that it gives belong to the scope in which it was
 * asked for them, and keep their values whatever becomes of the array.
 */
export interface TfArray {
  readonly shape: readonly [rows: number, columns: number];
  /** All values. */
  values(): TfTensor;
  /** Rows in the order of an int32 vector of their numbers. */
  rows(numbers: TfTensor): TfTensor;
  /** Adds a matrix of the array's shape. */
  add(matrix: TfTensor): void;
  subtract(matrix: TfTensor): void;
  /** Takes the values of a tensor of the array's shape that belongs to nothing else that is kept. */
  assign(matrix: TfTensor): void;
  /** Takes rows; none is named twice. */
  assignRows(numbers: TfTensor, rows: TfTensor): void;
  dispose(): void;
}

/** Makes an array; the tensor may become its own. */
export type MakeArray = (values: TfTensor) => TfArray;

/** For every tfjs: ops make new tensors, so each change is a new one in place of the one before. */
export function tensorArrays(tf: Tf): MakeArray {
  return (values) => new TensorArray(tf, values);
}

class TensorArray implements TfArray {
  readonly shape: TfArray["shape"];
  readonly #tf: Tf;
  #tensor: TfTensor;

  constructor(tf: Tf, values: TfTensor) {
    this.#tf = tf;
    this.#tensor = tf.keep(values);
    this.shape = [values.shape[0]!, values.shape[1]!];
  }

  values(): TfTensor {
    // The array's own may be disposed while somebody still reads.
    return this.#tf.clone(this.#tensor);
  }

  rows(numbers: TfTensor): TfTensor {
    return this.#tf.gather(this.#tensor, numbers);
  }

  add(matrix: TfTensor): void {
    this.assign(this.#tf.add(this.#tensor, matrix));
  }

  subtract(matrix: TfTensor): void {
    this.assign(this.#tf.sub(this.#tensor, matrix));
  }

  assign(matrix: TfTensor): void {
    const before = this.#tensor;
    this.#tensor = this.#tf.keep(matrix);
    before.dispose();
  }

  assignRows(numbers: TfTensor, rows: TfTensor): void {
    const at = this.#tf.reshape(numbers, [numbers.size, 1]);
    this.assign(this.#tf.tensorScatterUpdate(this.#tensor, at, rows));
  }

  dispose(): void {
    this.#tensor.dispose();
  }
}
