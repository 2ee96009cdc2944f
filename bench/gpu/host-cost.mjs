#!/usr/bin/env node
/**
 * What a step on a GPU costs the calling thread: the library's own steps over a driver that does nothing (null-driver.c),
 * or over a real one (--library). Beside it the longest time in which the event loop does not turn. See README.md.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { EMA_MOMENTUM, GLOBAL_CLIPNORM, ZIPF_EXPONENT } from "../lib/hyper.mjs";
import { machine } from "../lib/machine.mjs";
import { zipfRows } from "../lib/random.mjs";
import { percentile, summarize } from "../lib/statistics.mjs";
import { duration, table } from "../lib/table.mjs";
import { threadClock } from "../lib/thread-clock.mjs";

const { values: given } = parseArgs({
  options: {
    steps: { type: "string", default: "200" },
    slices: { type: "string", default: "65536" },
    rows: { type: "string", default: "1000000" },
    variables: { type: "string", default: "1000" },
    only: { type: "string", default: "" },
    library: { type: "string" },
    cpu: { type: "boolean", default: false },
    json: { type: "string" },
  },
});
const [steps, slices, rows, variables] = [given.steps, given.slices, given.rows, given.variables].map(Number);
const folder = mkdtempSync(join(tmpdir(), "shardgrad-null-driver-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
process.env.SHARDGRAD_CUDA_LIBRARY = given.library ?? nullDriver();

function nullDriver() {
  const library = join(folder, "libcuda.so");
  const source = fileURLToPath(new URL("null-driver.c", import.meta.url));
  const { status, stderr } = spawnSync(process.env.CC ?? "cc", [
    "-shared",
    "-fPIC",
    "-O2",
    source,
    "-o",
    library,
  ]);
  if (status !== 0) throw new Error(`The driver that does nothing does not compile:\n${stderr}`);
  return library;
}

/** @typedef {[gradient: any, variable: Variable][]} Pairs */

/**
 * @param {Runtime} runtime
 * @param {number} count
 * @param {number} size
 * @returns {Pairs}
 */
function small(runtime, count, size) {
  return Array.from({ length: count }, () => [
    new Float32Array(size).fill(0.01),
    Variable.zeros([size], { runtime }),
  ]);
}

/**
 * @param {Runtime} runtime
 * @param {Int32Array} indices
 * @returns {Pairs}
 */
function sparse(runtime, indices) {
  const values = runtime.allocate(indices.length * 16).fill(0.01);
  return [[{ indices, values }, Variable.zeros([rows, 16], { runtime })]];
}

/**
 * @param {Runtime} runtime
 * @returns {Pairs}
 */
function tables(runtime) {
  return Array.from({ length: 300 }, (_, i) => {
    const indices = zipfRows(1000, 20, 0, i + 1);
    const values = new Float32Array(20 * 16).fill(0.01);
    return [{ indices, values }, Variable.zeros([1000, 16], { runtime })];
  });
}

const uniform = () => zipfRows(rows, slices, 0, 1);
const zipf = () => zipfRows(rows, slices, ZIPF_EXPONENT, 1);
const ema = { useEma: true, emaMomentum: EMA_MOMENTUM };
const name = `${variables} variables`;

/** @type {{ name: string, make: (runtime: Runtime) => Pairs, options?: object }[]} */
const cases = [
  { name: `${name} of 64`, make: (runtime) => small(runtime, variables, 64) },
  {
    name: `${name} of 64, global norm`,
    make: (runtime) => small(runtime, variables, 64),
    options: { globalClipnorm: GLOBAL_CLIPNORM },
  },
  {
    name: `${name} of 64, norm and averages`,
    make: (runtime) => small(runtime, variables, 64),
    options: { clipnorm: GLOBAL_CLIPNORM, ...ema },
  },
  { name: `${name} of 1,000`, make: (runtime) => small(runtime, variables, 1000) },
  { name: "one variable of 64", make: (runtime) => small(runtime, 1, 64) },
  { name: `${slices} slices, uniform`, make: (runtime) => sparse(runtime, uniform()) },
  { name: `${slices} slices, Zipf`, make: (runtime) => sparse(runtime, zipf()) },
  { name: "300 tables, 20 slices each", make: tables },
];

/** What the calling thread computes, in ns. */
const clock = threadClock();

/** The longest time between two turns of the event loop during some work. */
async function longestHold(/** @type {() => Promise<void>} */ work, now = clock) {
  let [running, last, longest] = [true, now(), 0];
  const turn = () => {
    const at = now();
    longest = Math.max(longest, at - last);
    last = at;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  running = false;
  turn();
  return longest;
}

/**
 * @param {"cuda" | "cpu"} device
 * @param {(typeof cases)[number]} chosen
 */
async function measure(device, { name, make, options = {} }) {
  const runtime = new Runtime({ device, threads: device === "cpu" ? 2 : 0, journalBytes: 2 ** 30 });
  await runtime.ready();
  const pairs = make(runtime);
  const optimizer = new Adagrad({ runtime, ...options });
  /** @type {string[]} */
  const devices = [];
  optimizer.on("iteration", ({ device }) => devices.push(device));
  for (let i = 0; i < 10; i++) await optimizer.applyGradients(pairs);
  if (device === "cuda" && devices.some((used) => used !== "cuda"))
    throw new Error(`Not on CUDA: ${devices}`);
  const taken = [];
  const holds = [];
  for (let i = 0; i < steps; i++) {
    const begin = clock();
    await optimizer.applyGradients(pairs);
    taken.push(clock() - begin);
    // Every step with its own gradients in the journal would fill the memory in the end.
    if (i % 20 === 19) await runtime.synchronize();
  }
  for (let i = 0; i < steps; i++) {
    holds.push(await longestHold(() => optimizer.applyGradients(pairs).then(() => {})));
    if (i % 20 === 19) await runtime.synchronize();
  }
  await runtime.close();
  holds.sort((a, b) => a - b);
  return {
    name,
    device,
    step: summarize(taken),
    hold: percentile(holds, 50),
    holdP99: percentile(holds, 99),
  };
}

const host = machine();
console.log(`Node ${host.node}, ${host.platform}, ${host.cpu}, ${host.parallelism} processors`);
console.log(given.library === undefined ? "A driver that does nothing." : given.library);
const found = [];
for (const chosen of cases.filter(({ name }) => name.includes(given.only))) {
  found.push(await measure("cuda", chosen));
  if (given.cpu) found.push(await measure("cpu", chosen));
}
const columns = [
  { title: "case", width: 38, left: true },
  { title: "device", width: 6, left: true },
  { title: "host time a step", width: 16 },
  { title: "fastest", width: 8 },
  { title: "p90", width: 8 },
  { title: "hold-up", width: 8 },
  { title: "p99", width: 8 },
];
const lines = found.map(({ name, device, step, hold, holdP99 }) => [
  name,
  device,
  duration(step.median),
  duration(step.min),
  duration(step.p90),
  duration(hold),
  duration(holdP99),
]);
console.log(table(columns, lines));

/** A variable of 2^24 elements and its accumulator: the longest hold-ups while they go up with a first step, and come home. */
async function measureMoves() {
  const runtime = new Runtime({ device: "cuda", threads: 0 });
  await runtime.ready();
  const [goingUp, comingHome, reading] = [[], [], []].map((list) => /** @type {number[]} */ (list));
  for (let i = 0; i < 10; i++) {
    const large = Variable.zeros([2 ** 24], { runtime });
    const gradient = runtime.allocate(large.size, "float32", { near: large }).fill(0.01);
    const optimizer = new Adagrad({ runtime });
    await optimizer.build([large]);
    goingUp.push(await longestHold(() => optimizer.applyGradients([[gradient, large]]).then(() => {})));
    reading.push(await longestHold(() => large.read().then(() => {})));
    comingHome.push(await longestHold(() => runtime.synchronize()));
    runtime.release(gradient);
    optimizer.dispose();
    large.dispose();
  }
  await runtime.close();
  for (const [what, holds] of Object.entries({ goingUp, reading, comingHome })) {
    const { median, p90 } = summarize(holds);
    console.log(`2 arrays of 64 MiB, ${what}: held up for ${duration(median)}, p90 ${duration(p90)}`);
  }
}
if (given.only === "" || given.only === "moves") await measureMoves();

if (given.library === undefined && given.only === "") {
  process.env.NULL_DRIVER_COMPILE_MS = "300";
  const runtime = new Runtime({ device: "cuda", threads: 0 });
  const hold = await longestHold(
    () => runtime.ready(),
    () => performance.now() * 1e6,
  );
  console.log(`Opening, with a compiler that takes 300 ms, holds the event loop up for ${duration(hold)}.`);
  await runtime.close();
}
if (given.json !== undefined) writeFileSync(given.json, JSON.stringify({ machine: host, found }, null, 2));
