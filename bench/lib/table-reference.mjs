/** Plain Adagrad over some rows of a table, slice by slice, beside the steps that are measured. */

import { EPSILON, LEARNING_RATE } from "./hyper.mjs";
import { ema, positions, same, stepped, withSquare } from "./reference.mjs";

export { positions };

/** @typedef {import("@shardgrad/core").Variable} Variable */

/**
 * Elementwise accumulators must have the very bits. A mean of squares and an average are taken in float64 here, and
 * may round in another order there.
 */
const ROUNDING = 1e-5;

/**
 * @param {Variable} variable also one that is split over several memories
 * @param {number} row
 * @param {number} width
 */
function readRow(variable, row, width) {
  const at = row * width;
  const segment = variable.segments.findLast(({ start }) => start <= at);
  if (!segment) throw new Error(`no row ${row}`);
  return Float32Array.from({ length: width }, (_, j) => Number(segment.data[at - segment.start + j]));
}

export class TableReference {
  /** @type {Map<number, { w: Float32Array, s: Float32Array, e: Float64Array | undefined }>} */
  #rows = new Map();
  #dim;
  #rowwise;
  #kept;

  /**
   * Reads the rows as they are now.
   * @param {readonly number[]} rows
   * @param {number} dim
   * @param {{ accumulator?: "elementwise" | "rowwise" }} optimizing
   * @param {{ weights: Variable, accumulator: Variable, average: Variable | undefined }} kept
   */
  constructor(rows, dim, { accumulator = "elementwise" }, kept) {
    this.#dim = dim;
    this.#rowwise = accumulator === "rowwise";
    this.#kept = kept;
    for (const row of rows) {
      const average = kept.average && Float64Array.from(readRow(kept.average, row, dim));
      const s = readRow(kept.accumulator, row, this.#rowwise ? 1 : dim);
      this.#rows.set(row, { w: readRow(kept.weights, row, dim), s, e: average });
    }
  }

  /**
   * One step; an average moves in every row, named or not.
   * @param {Int32Array} indices
   * @param {Float32Array} values
   */
  step(indices, values) {
    const dim = this.#dim;
    /** @type {Map<number, Float32Array>} */
    const sums = new Map();
    indices.forEach((row, slice) => {
      const state = this.#rows.get(row);
      if (!state) return;
      const sum = sums.get(row) ?? new Float32Array(dim);
      sums.set(row, sum);
      const gradient = values.subarray(slice * dim, (slice + 1) * dim);
      let squares = 0;
      for (let j = 0; j < dim; j++) {
        sum[j] += gradient[j];
        squares += gradient[j] * gradient[j];
        if (!this.#rowwise) state.s[j] = withSquare(state.s[j], gradient[j]);
      }
      if (this.#rowwise) state.s[0] += squares / dim;
    });
    for (const [row, { w, s, e }] of this.#rows) {
      const sum = sums.get(row);
      for (let j = 0; j < dim; j++) {
        if (sum && this.#rowwise) w[j] -= (LEARNING_RATE * sum[j]) / Math.sqrt(s[0] + EPSILON);
        else if (sum) w[j] = stepped(w[j], s[j], sum[j]);
        if (e) e[j] = ema(e[j], w[j]);
      }
    }
  }

  /** Throws when a row is not what it should be. */
  compare() {
    const { weights, accumulator, average } = this.#kept;
    const tolerance = this.#rowwise ? ROUNDING : 0;
    for (const [row, { w, s, e }] of this.#rows) {
      const compare = (
        /** @type {string} */ name,
        /** @type {Variable} */ of,
        /** @type {Float32Array | Float64Array} */ expected,
        /** @type {number} */ within,
      ) => {
        const got = readRow(of, row, expected.length);
        for (const [j, value] of got.entries()) same(`${name}[${row}, ${j}]`, value, expected[j], within);
      };
      compare("accumulator", accumulator, s, tolerance);
      compare("table", weights, w, tolerance);
      if (e && average) compare("average", average, e, ROUNDING);
    }
  }
}
