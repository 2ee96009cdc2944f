import type { Tf, TfTensor } from "./tf.js";

/**
 * Elements that one sum takes. Some back ends add float32 numbers one after another: sums of sums keep the error near
 * that of a few additions, where one sum of a million elements may be wrong by a percent.
 */
const MOST = 32;

/** Sums of the rows of a matrix, as a column. */
export function rowSums(tf: Tf, matrix: TfTensor): TfTensor {
  const rows = matrix.shape[0]!;
  let rest = matrix;
  for (let columns = rest.shape[1]!; columns > MOST; columns = rest.shape[1]!) {
    const groups = Math.floor(columns / MOST);
    const grouped = groups * MOST;
    const whole = columns === grouped ? rest : tf.slice(rest, [0, 0], [rows, grouped]);
    const sums = tf.sum(tf.reshape(whole, [rows, groups, MOST]), 2);
    rest =
      columns === grouped
        ? sums
        : tf.concat([sums, tf.slice(rest, [0, grouped], [rows, columns - grouped])], 1);
  }
  return tf.reshape(tf.sum(rest, 1), [rows, 1]);
}

/** The sum of the squares of all elements of all tensors, as a tensor of shape [1]. */
export function sumOfSquares(tf: Tf, tensors: readonly TfTensor[]): TfTensor {
  const parts = tensors.map((tensor) =>
    tf.tidy(() => rowSums(tf, tf.reshape(tf.mul(tensor, tensor), [1, tensor.size]))),
  );
  const sum = parts.length === 1 ? parts[0]! : rowSums(tf, tf.concat(parts, 1));
  return tf.reshape(sum, [1]);
}
