/** Whole steps through the library, as a program makes them: on the device, on the CPU, and on both in one step. */
import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { denseTraffic } from "../lib/bytes.mjs";
import { EPSILON, INITIAL_ACCUMULATOR, LEARNING_RATE } from "../lib/hyper.mjs";
import { uniqueRows } from "../lib/random.mjs";
import { summarize } from "../lib/statistics.mjs";

/**
 * @typedef {import("./cases.mjs").Row} Row
 * @typedef {import("./options.mjs").Options} Options
 * @typedef {"cpu" | "cuda"} Where
 */

const GRADIENT = 0.01;
const hyper = {
  learningRate: LEARNING_RATE,
  initialAccumulatorValue: INITIAL_ACCUMULATOR,
  epsilon: EPSILON,
};

/**
 * Steps over one dense variable, each awaited: the gradient is the host's and goes up at every step.
 * @param {Options} options
 * @returns {Promise<Row[]>}
 */
export async function step({ largest, samples }) {
  const found = [];
  for (const power of [6, 20, 24].filter((power) => power <= largest)) {
    for (const where of /** @type {const} */ (["cuda", "cpu"])) {
      const elements = 2 ** power;
      const result = await timed(where, samples, (runtime) => [
        [runtime.allocate(elements).fill(GRADIENT), Variable.zeros([elements], { runtime })],
      ]);
      const name = `library step 2^${power}, ${where}`;
      found.push({ name, case: "step", elements, traffic: denseTraffic(elements).bytes, result });
    }
  }
  return found;
}

/**
 * Four dense layers and a table: all on the CPU, all on the device, the table on the CPU and the layers on the device.
 * @param {Options} options
 * @returns {Promise<Row[]>}
 */
export async function hybrid({ rows, slices, largest, samples }) {
  const dim = 64;
  const tableRows = Math.min(rows, 1_000_000);
  const layer = 2 ** Math.min(22, largest);
  const picked = uniqueRows(tableRows, Math.min(slices, 16_384), 1);
  const found = [];
  for (const [name, where, table] of /** @type {const} */ ([
    ["CPU alone", "cpu", "auto"],
    ["GPU alone", "cuda", "gpu"],
    ["table on the CPU, layers on the GPU", "cuda", "cpu"],
  ])) {
    const result = await timed(where, samples, (runtime) => {
      const values = runtime.allocate(picked.length * dim).fill(GRADIENT);
      const embeddings = Variable.zeros([tableRows, dim], { runtime, device: table });
      const layers = Array.from({ length: 4 }, () => [
        runtime.allocate(layer).fill(GRADIENT),
        Variable.zeros([layer], { runtime, device: where === "cuda" ? "gpu" : "auto" }),
      ]);
      return [[{ indices: picked, values }, embeddings], ...layers];
    });
    const elements = picked.length * dim + 4 * layer;
    found.push({ name, case: "hybrid", elements, result, note: `${tableRows} × 64 and 4 × ${layer}` });
  }
  return found;
}

/**
 * @param {Where} where
 * @param {number} samples
 * @param {(runtime: Runtime) => any[]} make gradients and variables
 */
async function timed(where, samples, make) {
  const runtime = new Runtime({ device: where });
  await runtime.ready();
  const optimizer = new Adagrad({ ...hyper, runtime });
  const pairs = make(runtime);
  /** @type {string[]} */
  const devices = [];
  optimizer.on("iteration", ({ device }) => devices.push(device));
  const taken = [];
  for (let i = 0; i < samples + 3; i++) {
    const begin = performance.now();
    await optimizer.applyGradients(pairs);
    if (i >= 3) taken.push((performance.now() - begin) * 1e6);
  }
  await runtime.close();
  if (where === "cuda" && devices.some((device) => device !== "cuda" && device !== "hybrid")) {
    throw new Error(`A step that was to run on the device ran on ${devices.join()}.`);
  }
  return summarize(taken);
}
