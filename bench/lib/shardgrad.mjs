/** Shardgrad's side: variables, gradients and an optimizer, ready to step, and the checks of their results. */
import { EMA_MOMENTUM, EPSILON, GLOBAL_CLIPNORM, INITIAL_ACCUMULATOR, LEARNING_RATE } from "./hyper.mjs";
import { fill } from "./random.mjs";
import { ema, positions, same, stepped, withSquare } from "./reference.mjs";
import { measureAsync, measureSync } from "./timing.mjs";

/** @typedef {import("./contest.mjs").Contestant} Contestant */
/** @typedef {import("@shardgrad/core").Runtime} Runtime */

/** @type {typeof import("@shardgrad/core")} */
export let core;

/**
 * The kernels of all runtimes.
 * @type {"auto" | "wasm" | "native"}
 */
export let kernels = "auto";

/** @param {typeof kernels} choice */
export async function loadShardgrad(choice) {
  kernels = choice;
  try {
    core = await import("@shardgrad/core");
  } catch (error) {
    throw new Error("@shardgrad/core cannot be loaded; build it first: npm run build", { cause: error });
  }
}

/** One runtime for each number of threads, kept for the whole run: starting threads is not what is measured. */
const runtimes = new Map();

/**
 * @param {number} threads
 * @returns {Promise<Runtime>}
 */
export async function runtimeOf(threads) {
  let runtime = runtimes.get(threads);
  if (!runtime) {
    runtime = new core.Runtime({ threads, kernels });
    runtimes.set(threads, runtime);
    await runtime.ready();
  }
  return runtime;
}

/** What the kernels run on, such as avx512 or simd128. */
export async function instructions() {
  return (await runtimeOf(0)).instructions;
}

export async function closeRuntimes() {
  for (const runtime of runtimes.values()) await runtime.close();
  runtimes.clear();
}

/**
 * @typedef {object} Fixture
 * @property {() => void} stepSync
 * @property {() => Promise<void>} stepAsync
 * @property {() => void} check steps once, synchronously, and throws when the result is wrong
 * @property {() => void} close
 */

/** V8 takes half a second until it has compiled a small step for good; the first contestant must not pay it. */
export async function warmUp() {
  const fixture = denseFixture({ runtime: await runtimeOf(0), elements: 64 });
  measureSync(fixture.stepSync, { seconds: 0.6 });
  await measureAsync(fixture.stepAsync, { seconds: 0.3 });
  fixture.close();
}

/** @param {"none" | "ema" | "clip"} extra */
function optimizerOptions(extra) {
  return {
    learningRate: LEARNING_RATE,
    initialAccumulatorValue: INITIAL_ACCUMULATOR,
    epsilon: EPSILON,
    ...(extra === "ema" ? { useEma: true, emaMomentum: EMA_MOMENTUM } : {}),
    ...(extra === "clip" ? { globalClipnorm: GLOBAL_CLIPNORM } : {}),
  };
}

/**
 * `variables` variables of `elements` each.
 * @param {object} setup
 * @param {Runtime} setup.runtime
 * @param {number} setup.elements
 * @param {number} [setup.variables]
 * @param {"none" | "ema" | "clip"} [setup.extra]
 * @param {"arena" | "array"} [setup.gradientsIn] `array`: ordinary Float32Arrays, copied at every step
 * @returns {Fixture}
 */
export function denseFixture({ runtime, elements, variables = 1, extra = "none", gradientsIn = "arena" }) {
  const optimizer = new core.Adagrad({ ...optimizerOptions(extra), runtime });
  /** @type {Float32Array[]} */
  const gradients = [];
  const weights = Array.from({ length: variables }, (_, i) => {
    const variable = new core.Variable("zeros", { shape: [elements], name: `w${i}`, runtime });
    fill(/** @type {Float32Array} */ (variable.data), 2 * i + 1);
    gradients.push(
      gradientsIn === "arena"
        ? /** @type {Float32Array} */ (runtime.allocate(elements, "float32", { near: variable }))
        : new Float32Array(elements),
    );
    fill(gradients[i], 2 * i + 2);
    return variable;
  });
  optimizer.build(weights);
  /** @type {[Float32Array, import("@shardgrad/core").Variable][]} */
  const pairs = weights.map((variable, i) => [gradients[i], variable]);

  const stepSync = () => optimizer.applyGradientsSync(pairs);
  const check = () => {
    const last = variables - 1;
    const data = (/** @type {any} */ variable) => /** @type {Float32Array} */ (variable.data);
    const [w, s, g] = [data(weights[last]), data(optimizer.accumulators[last]), gradients[last]];
    const e = extra === "ema" ? data(optimizer.averages[last]) : undefined;
    const scale = extra === "clip" ? GLOBAL_CLIPNORM / Math.max(norm(gradients), GLOBAL_CLIPNORM) : 1;
    const picked = positions(elements);
    const before = picked.map((at) => ({ w: w[at], s: s[at], e: e?.[at] ?? 0 }));
    stepSync();
    // Plain Adagrad must give the very bits; a norm's sum and the average may round in another order.
    const tolerance = extra === "clip" ? 1e-5 : 0;
    picked.forEach((at, i) => {
      const gradient = Math.fround(g[at] * scale);
      const accumulator = withSquare(before[i].s, gradient);
      const weight = stepped(before[i].w, accumulator, gradient);
      same(`accumulator[${at}]`, s[at], accumulator, tolerance);
      same(`variable[${at}]`, w[at], weight, tolerance);
      if (e) same(`average[${at}]`, e[at], ema(before[i].e, weight), 1e-5);
    });
  };
  const close = () => {
    for (const variable of [...weights, ...optimizer.variables]) variable.dispose();
    if (gradientsIn === "arena") for (const gradient of gradients) runtime.release(gradient);
  };
  return { stepSync, stepAsync: () => optimizer.applyGradients(pairs), check, close };
}

/** @param {readonly Float32Array[]} arrays */
function norm(arrays) {
  let sum = 0;
  for (const array of arrays) for (let i = 0; i < array.length; i++) sum += array[i] * array[i];
  return Math.sqrt(sum);
}

/**
 * One table of `rows` × `dim` and a gradient of slices.
 * @param {object} setup
 * @param {Runtime} setup.runtime
 * @param {number} setup.rows
 * @param {number} setup.dim
 * @param {Int32Array} setup.indices
 * @param {"perSlice" | "perRow"} [setup.duplicateIndices]
 * @returns {Fixture}
 */
export function sparseFixture({ runtime, rows, dim, indices, duplicateIndices = "perSlice" }) {
  const optimizer = new core.Adagrad({ ...optimizerOptions("none"), duplicateIndices, runtime });
  const table = new core.Variable("zeros", { shape: [rows, dim], name: "table", runtime });
  fill(/** @type {Float32Array} */ (table.data), 1);
  const values = /** @type {Float32Array} */ (
    runtime.allocate(indices.length * dim, "float32", { near: table })
  );
  fill(values, 2);
  optimizer.build([table]);
  const accumulator = optimizer.accumulators[0];
  /** @type {[import("@shardgrad/core").IndexedSlices, import("@shardgrad/core").Variable][]} */
  const pairs = [[new core.IndexedSlices({ indices, values, denseShape: [rows, dim] }), table]];

  const stepSync = () => optimizer.applyGradientsSync(pairs);
  const check = () => {
    const [w, s] = [table.data, accumulator.data];
    const picked = new Map(
      positions(indices.length, 64).map((at) => [indices[at], /** @type {number[]} */ ([])]),
    );
    for (let at = 0; at < indices.length; at++) picked.get(indices[at])?.push(at);
    const before = new Map([...picked.keys()].map((row) => [row, [slice(w, row, dim), slice(s, row, dim)]]));
    stepSync();
    for (const [row, slices] of picked) {
      const [weight, total] = /** @type {Float32Array[]} */ (before.get(row));
      for (let j = 0; j < dim; j++) {
        let sum = 0;
        let accumulator = total[j];
        for (const at of slices) {
          sum = Math.fround(sum + values[at * dim + j]);
          if (duplicateIndices === "perSlice") accumulator = withSquare(accumulator, values[at * dim + j]);
        }
        if (duplicateIndices === "perRow") accumulator = withSquare(accumulator, sum);
        same(`accumulator[${row}, ${j}]`, s[row * dim + j], accumulator, 0);
        same(`table[${row}, ${j}]`, w[row * dim + j], stepped(weight[j], accumulator, sum), 0);
      }
    }
  };
  const close = () => {
    for (const variable of [table, ...optimizer.variables]) variable.dispose();
    runtime.release(values);
  };
  return { stepSync, stepAsync: () => optimizer.applyGradients(pairs), check, close };
}

/**
 * @param {ArrayLike<number>} array
 * @param {number} row
 * @param {number} dim
 */
const slice = (array, row, dim) => Float32Array.from({ length: dim }, (_, j) => array[row * dim + j]);

/**
 * A fixture as a contestant of one mode. The result is checked before the first round and after every round.
 * @param {Fixture} fixture
 * @param {{ threads: number, mode: "sync" | "async", note?: string, key?: string }} options
 * @returns {Contestant}
 */
export function ours(fixture, { threads, mode, note = "", key }) {
  let checked = false;
  return {
    who: `Shardgrad${note && `, ${note}`}`,
    threads,
    mode,
    ...(key ? { key } : {}),
    async round(seconds) {
      if (!checked) fixture.check();
      const budget = { seconds, warmSeconds: checked ? 0 : 0.05 };
      checked = true;
      const measured =
        mode === "sync"
          ? measureSync(fixture.stepSync, budget)
          : await measureAsync(fixture.stepAsync, budget);
      fixture.check();
      return measured;
    },
  };
}
