/** What smoke.mjs compares: a step of every kind, over sizes with tails, rows hot and cold, and numbers at the edges. */
import { generator } from "../lib/random.mjs";

/**
 * @typedef {import("@shardgrad/core").Runtime} Runtime
 * @typedef {import("@shardgrad/core").Variable} Variable
 * @typedef {{ variables: Variable[], gradients: (step: number) => any[], steps: number, sync?: boolean, rows?: number[],
 *   options?: object }} Case `sync`: the steps after the first; `rows`: gathered from the first variable at the end
 * @typedef {(runtime: Runtime, variable: typeof import("@shardgrad/core").Variable) => Case} Make
 */

/** Numbers of either sign whose sizes differ by up to 2^16. */
function numbers(/** @type {number} */ count, /** @type {number} */ seed, type = Float32Array) {
  const values = new type(count);
  let state = Math.imul(seed + 1, 2654435761);
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    values[i] = state * scales[(state >>> 8) & 15];
  }
  return values;
}
const scales = Float64Array.from({ length: 16 }, (_, i) => 2 ** -(31 + i));

/**
 * Dense variables; the gradient of every second one lies where the device can read it in place.
 * @param {readonly (readonly number[])[]} shapes
 * @param {object} [options] the optimizer's
 * @param {Partial<Case> & { dtype?: "float32" | "float64" }} [more]
 * @returns {Make}
 */
function dense(shapes, options = {}, { dtype = "float32", ...more } = {}) {
  const type = /** @type {any} */ (dtype === "float64" ? Float64Array : Float32Array);
  const sizes = shapes.map((shape) => shape.reduce((a, b) => a * b, 1));
  return (runtime, Variable) => {
    const variables = sizes.map((size, i) => {
      const start = numbers(size, i, type);
      return new Variable(start, { shape: [...shapes[i]], dtype, runtime });
    });
    const lent = sizes.map((size, i) => (i % 2 === 0 ? runtime.allocate(size, dtype) : new type(size)));
    const gradients = (/** @type {number} */ step) =>
      lent.map((gradient, i) => {
        gradient.set(numbers(sizes[i], 1000 * (step + 1) + i, type));
        return gradient;
      });
    return { variables, gradients, steps: 3, options, ...more };
  };
}

/**
 * A table; row 7 is named by a third of the slices.
 * @param {number} rowSize
 * @param {object} [options] the optimizer's
 * @param {Omit<Partial<Case>, "rows"> & { rows?: number, slices?: number, gathered?: number[] }} [more]
 * @returns {Make}
 */
function table(rowSize, options = {}, { rows = 5000, slices = 3000, gathered, ...more } = {}) {
  return (runtime, Variable) => {
    const start = numbers(rows * rowSize, rowSize);
    const variables = [new Variable(start, { shape: [rows, rowSize], runtime })];
    const gradients = (/** @type {number} */ step) => {
      const random = generator(step + 1);
      const indices = Int32Array.from({ length: slices }, () =>
        random() < 1 / 3 ? 7 : Math.floor(random() * rows),
      );
      return [{ indices, values: numbers(slices * rowSize, step + 100) }];
    };
    return { variables, gradients, steps: 3, options, ...(gathered && { rows: gathered }), ...more };
  };
}

/**
 * Tables with few slices each.
 * @type {Make}
 */
function tables(runtime, Variable) {
  const sizes = Array.from({ length: 300 }, (_, i) => ({ rows: 1 + ((i * 37) % 500), slices: 1 + (i % 7) }));
  const variables = sizes.map(
    ({ rows }, i) => new Variable(numbers(rows * 5, i), { shape: [rows, 5], runtime }),
  );
  const gradients = (/** @type {number} */ step) =>
    sizes.map(({ rows, slices }, i) => {
      const random = generator(1000 * step + i + 1);
      const indices = Int32Array.from({ length: slices }, () => Math.floor(random() * rows));
      return { indices, values: numbers(slices * 5, 1000 * step + i) };
    });
  return { variables, gradients, steps: 3, options: { clipnorm: 0.5 } };
}

/** @type {Make} */
function edges(runtime, Variable) {
  const { POSITIVE_INFINITY: infinity, NaN: nothing } = Number;
  const values = [
    0,
    -0,
    1,
    -1,
    1e-45,
    -1e-45,
    1e-40,
    1.17e-38,
    3.4e38,
    -3.4e38,
    infinity,
    -infinity,
    nothing,
    1e-20,
  ];
  const pairs = values.flatMap((a) => values.map((b) => [a, b]));
  const variables = [
    new Variable(
      Float32Array.from(pairs, ([a]) => a),
      { shape: [pairs.length], runtime },
    ),
  ];
  const gradients = () => [Float32Array.from(pairs, ([, b]) => b)];
  return { variables, gradients, steps: 3, options: { initialAccumulatorValue: 0, useEma: true } };
}

const tails = [[1_000_003], [1], [4096], [4097], [7, 9], [300, 257]];
const many = Array.from({ length: 300 }, (_, i) => [1 + ((i * 37) % 5000)]);
const overwrite = { useEma: true, emaMomentum: 0.9, emaOverwriteFrequency: 2 };
const rowwise = { accumulator: "rowwise" };

/** @type {Record<string, Make>} */
export const cases = {
  "dense, float32": dense(tails),
  "dense, float64": dense(tails, {}, { dtype: "float64" }),
  "dense, 2^24 + 5 elements": dense([[2 ** 24 + 5]], {}, { steps: 1 }),
  "dense, 300 variables": dense(many),
  "dense, synchronous steps": dense(tails, {}, { sync: true }),
  "averages, overwritten every second step": dense(tails, overwrite),
  "averages, float64": dense(tails, overwrite, { dtype: "float64" }),
  "clip by value": dense(tails, { clipvalue: 0.01 }),
  "clip by each variable's norm": dense(many, { clipnorm: 0.1 }),
  "clip by the global norm": dense([...tails, ...many], { globalClipnorm: 1 }),
  "clip by the global norm, float64": dense(tails, { globalClipnorm: 1 }, { dtype: "float64" }),
  "zeros, denormals, infinities, NaN": edges,
  "slices of 64, each squared": table(64),
  "slices of 64, rows summed": table(64, { duplicateIndices: "perRow" }),
  "slices of 33, each squared, clipped by norm": table(33, { clipnorm: 0.5 }),
  "slices of 1": table(1),
  "slices of 300, rows summed, global norm": table(300, { duplicateIndices: "perRow", globalClipnorm: 1 }),
  "slices and averages of the table": table(64, overwrite),
  "slices, few of them": table(64, {}, { slices: 200 }),
  "slices, 300,000 of 2^20 rows": table(2, {}, { rows: 2 ** 20, slices: 300_000 }),
  "slices of 300 tables": tables,
  gather: table(64, {}, { gathered: [4999, 0, 7, 7, 1234] }),
  "row-wise accumulators, dense": dense(
    [
      [300, 257],
      [5000, 8],
      [3, 1],
    ],
    rowwise,
  ),
  "row-wise accumulators, slices of 64": table(64, rowwise),
  "row-wise accumulators, slices of 33, rows summed": table(33, { ...rowwise, duplicateIndices: "perRow" }),
};
