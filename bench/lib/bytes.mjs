/**
 * The bytes-moved model: what a perfect implementation has to move between memory and core, once.
 * @typedef {{ bytes: number, model: string }} Traffic bytes of one step, and how they were counted
 */

/** g, acc and w read; acc and w written: five floats. */
const DENSE = 20;
/** The average read and written. */
const EMA = 8;
/** The gradient read once more for its norm. */
const NORM = 4;

/**
 * @param {number} elements
 * @param {{ ema?: boolean, norm?: boolean }} [with_]
 * @returns {Traffic}
 */
export function denseTraffic(elements, { ema = false, norm = false } = {}) {
  const each = DENSE + (ema ? EMA : 0) + (norm ? NORM : 0);
  return { bytes: elements * each, model: `${each} B an element` };
}

/**
 * 4·dim a slice for its gradient and 4 for its index; 16·dim a distinct row for acc and w, read and written.
 * Without duplicates that is 20·dim + 4 a row.
 * @param {number} slices
 * @param {number} distinct
 * @param {number} dim
 * @returns {Traffic}
 */
export function sparseTraffic(slices, distinct, dim) {
  const bytes = slices * (4 * dim + 4) + distinct * 16 * dim;
  const model =
    slices === distinct ? "20·dim + 4 B a slice" : "4·dim + 4 B a slice and 16·dim B a distinct row";
  return { bytes, model };
}

/** A row's one accumulator element moves the line that it lies in, read and written. */
const LINE_BOTH_WAYS = 128;

/**
 * The model of FBGEMM's benchmark of the same kernels: 20·dim B a row elementwise (w and acc read and written, the
 * gradient read), 12·dim + 128 row-wise. A row named several times moves its gradients several times and the rest once.
 * @param {number} slices
 * @param {number} distinct
 * @param {number} dim
 * @param {"elementwise" | "rowwise"} accumulator
 */
export function tableTraffic(slices, distinct, dim, accumulator) {
  const row = accumulator === "elementwise" ? 16 * dim : 8 * dim + LINE_BOTH_WAYS;
  return slices * 4 * dim + distinct * row;
}
