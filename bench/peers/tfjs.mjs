/**
 * TensorFlow.js' Adagrad in Node, on its CPU and WebAssembly backends. Protocol: common.py.
 *
 *     echo '{"case":"dense","variant":"wasm","elements":4096}' | node tfjs.mjs --threads 1
 *
 * Variants: cpu, wasm. It has no EMA, no clipping and no sparse gradients (a gather's gradient is dense),
 * and its WebAssembly backend does not use threads in Node, so that one thread is all there is.
 */
import { createInterface } from "node:readline";
import { measureSync } from "../lib/timing.mjs";

const RATE = 0.01;
const INITIAL_ACCUMULATOR = 0.1;
const EPSILON = 1e-7;

/** @type {any} */
let tf;

/** @param {string} backend */
async function useBackend(backend) {
  if (backend === "wasm") await import("@tensorflow/tfjs-backend-wasm");
  if (tf.getBackend() !== backend && !(await tf.setBackend(backend)))
    throw new Error(`no backend ${backend}`);
  await tf.ready();
}

/** @param {{ case: string, variant: string, elements: number, variables?: number }} request */
async function build(request) {
  if (request.case !== "dense" && request.case !== "many") throw new Error("TensorFlow.js has no such case");
  await useBackend(request.variant);
  const count = request.variables ?? 1;
  const values = Float32Array.from({ length: request.elements }, (_, i) => ((i * 7919) % 1000) / 1000 - 0.5);
  const variables = [];
  /** @type {Record<string, any>} */
  const gradients = {};
  for (let i = 0; i < count; i++) {
    const variable = tf.variable(tf.tensor1d(values.slice()), true);
    variables.push(variable);
    gradients[variable.name] = tf.tensor1d(values.slice().reverse());
  }
  const optimizer = tf.train.adagrad(RATE, INITIAL_ACCUMULATOR);
  const step = () => optimizer.applyGradients(gradients);
  const last = variables[count - 1];
  const before = last.dataSync().slice();
  step();
  const after = last.dataSync();
  for (let i = 0; i < request.elements; i += 1 + (request.elements >> 9)) {
    const gradient = values[request.elements - 1 - i];
    const root = Math.sqrt(INITIAL_ACCUMULATOR + gradient * gradient + EPSILON);
    const expected = before[i] - (RATE * gradient) / root;
    if (!(Math.abs(after[i] - expected) <= 1e-5)) throw new Error(`weights: ${after[i]}, not ${expected}`);
  }
  const dispose = () => {
    for (const variable of variables) variable.dispose();
    for (const gradient of Object.values(gradients)) gradient.dispose();
    optimizer.dispose();
  };
  return { step, dispose };
}

/** @param {object} record */
const reply = (record) => process.stdout.write(`${JSON.stringify(record)}\n`);

const log = console.log;
console.log = console.warn = console.info = () => {}; // tfjs advertises itself on stdout
try {
  const module = await import("@tensorflow/tfjs");
  tf = module.default?.train ? module.default : module;
} finally {
  console.log = log;
}
reply({ ready: true, peer: "tfjs", version: tf.version["tfjs-core"] ?? tf.version.tfjs, threads: 1 });

let key = "";
/** @type {{ step: () => void, dispose: () => void } | undefined} */
let current;
for await (const line of createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const { seconds = 0.5, ...request } = JSON.parse(line);
  try {
    if (JSON.stringify(request) !== key) {
      current?.dispose();
      current = undefined;
      key = "";
      if (request.case === "drop") {
        reply({ dropped: true });
        continue;
      }
      current = await build(request);
      key = JSON.stringify(request);
    }
    const { median, p10, p90, samples } = measureSync(/** @type {any} */ (current).step, {
      seconds,
      least: 3,
    });
    const units = request.elements * (request.variables ?? 1);
    reply({
      peer: `tfjs ${request.variant}`,
      version: tf.version["tfjs-core"],
      case: request.case,
      threads: 1,
      unit: "element",
      nsPerUnit: median / units,
      usPerStep: median / 1e3,
      p10: p10 / 1e3,
      p90: p90 / 1e3,
      samples,
    });
  } catch (error) {
    key = "";
    reply({ error: String(error).slice(0, 500) });
  }
}
