#!/usr/bin/env node
/**
 * The first thing to run on a machine with a GPU: steps of every kind on the device and on the CPU, compared bit for bit,
 * a line for each. `node bench/gpu/smoke.mjs [--library PATH] [--device N] [--only TEXT]`; it ends with 1 where something
 * differs or did not run on the device.
 */
import { parseArgs } from "node:util";
import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { openCuda } from "@shardgrad/gpu";
import { machine } from "../lib/machine.mjs";
import { above4GiB } from "./above-4-gib.mjs";
import { cases } from "./smoke-cases.mjs";

const { values: options } = parseArgs({
  options: { library: { type: "string" }, device: { type: "string" }, only: { type: "string" } },
});
// The library opens the device by itself, too.
if (options.library !== undefined) process.env.SHARDGRAD_CUDA_LIBRARY = options.library;
if (options.device !== undefined) process.env.CUDA_VISIBLE_DEVICES = options.device;

const host = machine();
console.log(`Node ${host.node}, ${host.platform}, ${host.cpu}, ${host.parallelism} processors`);
const begin = performance.now();
// Held to the end, so that the runtimes below find its context.
const backend = await openCuda();
if (typeof backend === "string") {
  console.log(`No device. ${backend}`);
  process.exit(1);
}
console.log(`${backend.description}, opened in ${(performance.now() - begin).toFixed(0)} ms`);

let failed = 0;
for (const [name, make] of Object.entries(cases)) {
  if (!name.includes(options.only ?? "")) continue;
  const start = performance.now();
  const said = await compare(make).catch((error) => `FAILED: ${error?.stack ?? error}`);
  if (said !== "same bits") failed++;
  console.log(`${name.padEnd(52)} ${said} (${(performance.now() - start).toFixed(0)} ms)`);
}
const said = await above4GiB(backend).catch((error) => `FAILED: ${error?.stack ?? error}`);
if (said.startsWith("FAILED")) failed++;
console.log(`${"addresses above 4 GiB".padEnd(52)} ${said}`);
const { held } = backend.memory();
await backend.close();
if (held !== 0) console.log(`${held} bytes were left on the device.`);
console.log(failed === 0 ? "All the same." : `${failed} DIFFERENT.`);
process.exitCode = failed === 0 && held === 0 ? 0 : 1;

/** @param {import("./smoke-cases.mjs").Make} make */
async function compare(make) {
  const [here, there] = [await run("cpu", make), await run("cuda", make)];
  for (const [part, expected] of Object.entries(here)) {
    const got = there[part];
    for (let i = 0; i < expected.length; i++) {
      if (Object.is(got[i], expected[i])) continue;
      return `DIFFERENT: ${part}[${i}] is ${got[i]}, on the CPU ${expected[i]}`;
    }
  }
  return "same bits";
}

/**
 * Runs a case; all that it changed or read.
 * @param {"cpu" | "cuda"} where
 * @param {import("./smoke-cases.mjs").Make} make
 */
async function run(where, make) {
  const runtime = new Runtime({ device: where });
  /** @type {string[]} */
  const reasons = [];
  runtime.on("deviceChanged", ({ to, reason }) => {
    if (to !== where) reasons.push(reason);
  });
  await runtime.ready();
  const { variables, options, gradients, steps, sync, rows } = make(runtime, Variable);
  const optimizer = new Adagrad({ learningRate: 0.1, ...options, runtime });
  /** @type {Set<string>} */
  const devices = new Set();
  optimizer.on("iteration", ({ device }) => devices.add(device));
  for (let step = 0; step < steps; step++) {
    const pairs = gradients(step).map((gradient, i) => [gradient, variables[i]]);
    // A synchronous step computes where its variables are: the first one brings them there.
    if (sync && step > 0) optimizer.applyGradientsSync(pairs);
    else await optimizer.applyGradients(pairs);
  }
  /** @type {Record<string, ArrayLike<number>>} */
  const state = {};
  if (rows !== undefined) state.gathered = await variables[0].gatherAsync(rows);
  await runtime.synchronize();
  const keep = (/** @type {string} */ part, /** @type {readonly any[]} */ list) =>
    list.forEach((variable, i) => {
      state[`${part} ${i}`] = variable.data.slice();
    });
  keep("variable", variables);
  keep("accumulator", optimizer.accumulators);
  keep("average", optimizer.averages);
  await runtime.close();
  if (where === "cuda" && (reasons.length > 0 || [...devices].join() !== "cuda")) {
    throw new Error(`It ran on ${[...devices].join()}. ${reasons.join("; ")}`);
  }
  return state;
}
