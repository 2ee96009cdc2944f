import type { Tf, TfTensor } from "./tf.js";

/**
 * Elements that one sum takes. Some back ends add float32 numbers one after another: sums of sums keep the error near
 * that of a few additions.
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
    const left = columns - grouped;
    rest = left === 0 ? sums : tf.concat([sums, tf.slice(rest, [0, grouped], [rows, left])], 1);
  }
  return tf.reshape(tf.sum(rest, 1), [rows, 1]);
}
