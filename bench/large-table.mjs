/**
 * A table larger than any one memory: fills it, trains sparse steps with random rows over all of it, compares sampled
 * rows with a plain reference, and holds the process's memory against the payload.
 *
 *   node bench/large-table.mjs                      # 25,165,824 x 64: 6 GiB and 6 GiB of accumulators; needs 13 GiB free
 *   node bench/large-table.mjs --rows 1000000 --dim 64 --steps 20 --batch 16384 --accumulator rowwise --threads 2
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { generator } from "./lib/random.mjs";
import { count, duration, significant } from "./lib/table.mjs";

const { values: given } = parseArgs({
  options: {
    rows: { type: "string", default: "25165824" },
    dim: { type: "string", default: "64" },
    steps: { type: "string", default: "50" },
    batch: { type: "string", default: "65536" },
    threads: { type: "string", default: String(availableParallelism()) },
    accumulator: { type: "string", default: "elementwise" },
    // Smaller memories cut smaller tables, to try it out.
    "arena-mib": { type: "string", default: "4096" },
  },
});
const [rows, dim, steps, batch] = [given.rows, given.dim, given.steps, given.batch].map(Number);
const rowwise = given.accumulator === "rowwise";
const GIB = 2 ** 30;
const [RATE, EPSILON, INITIAL] = [0.05, 1e-7, 0.1].map(Math.fround);
const SAMPLES = 2048;

/** The element that the table starts with at a flat position: any 24 bits of a hash. */
function initial(position) {
  const low = Math.imul(position | 0, 0x9e3779b1) ^ Math.imul((position / 2 ** 32) | 0, 0x85ebca6b);
  return Math.fround(((low ^ (low >>> 15)) >>> 8) / 2 ** 24 - 0.5);
}

function fill({ start, data }) {
  for (let i = 0; i < data.length; i++) data[i] = initial(start + i);
}

/** What the kernel may keep of this process in memory, in bytes. */
function residence() {
  const found = { rss: process.memoryUsage().rss, smaps: undefined, huge: undefined };
  try {
    const text = readFileSync("/proc/self/smaps_rollup", "utf8");
    const field = (name) => 1024 * Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(text)?.[1]);
    return { ...found, smaps: field("Rss"), huge: field("AnonHugePages") + field("ShmemPmdMapped") };
  } catch {
    return found; // not Linux
  }
}

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const gib = (bytes) => `${(bytes / GIB).toFixed(3)} GiB`;

const runtime = new Runtime({
  threads: Number(given.threads),
  arenaBytes: Number(given["arena-mib"]) * 2 ** 20,
});
await runtime.ready();
const before = residence();
let since = performance.now();
const table = Variable.zeros([rows, dim], { name: "table", runtime });
for (const segment of table.segments) fill(segment);
console.log(
  `${count(rows)} x ${dim} float32 in ${table.segments.length} segments, filled in ${seconds(since)}`,
);
since = performance.now();
const optimizer = new Adagrad({
  ...{ learningRate: RATE, epsilon: EPSILON, initialAccumulatorValue: INITIAL, runtime },
  accumulator: given.accumulator,
});
optimizer.build([table]);
console.log(
  `accumulators (${given.accumulator}) filled in ${seconds(since)}; ${runtime.instructions} kernels`,
);

/** The samples, spread over the table with its first and last row, and what they must become. */
const random = generator(1);
const samples = new Map();
for (let i = 0; i < Math.min(SAMPLES, rows); i++) {
  const row = i === 0 ? 0 : i === 1 ? rows - 1 : Math.floor(random() * rows);
  const values = Float32Array.from({ length: dim }, (_, j) => initial(row * dim + j));
  samples.set(row, { values, sums: new Float32Array(rowwise ? 1 : dim).fill(INITIAL), touched: 0 });
}

/** The mean of the squares in the library's order: see docs/large-tables.md. */
function meanSquare(row) {
  const s = new Float64Array(8);
  const whole = row.length - (row.length % 8);
  for (let i = 0; i < whole; i++) s[i % 8] += row[i] * row[i];
  let sum = s[0] + s[2] + (s[4] + s[6]) + (s[1] + s[3] + (s[5] + s[7]));
  for (let i = whole; i < row.length; i++) sum += row[i] * row[i];
  return sum / row.length;
}

/** One step of the reference: slices of a row are summed, each squared by itself. */
function reference(indices, gradient) {
  const touched = new Map();
  for (let k = 0; k < indices.length; k++) {
    const sample = samples.get(indices[k]);
    if (sample === undefined) continue;
    const slice = gradient.subarray(k * dim, (k + 1) * dim);
    if (rowwise) sample.sums[0] += Math.fround(meanSquare(slice));
    else for (let j = 0; j < dim; j++) sample.sums[j] += Math.fround(slice[j] * slice[j]);
    const sum = touched.get(sample) ?? new Float32Array(dim);
    for (let j = 0; j < dim; j++) sum[j] += slice[j];
    touched.set(sample, sum);
  }
  for (const [sample, sum] of touched) {
    sample.touched++;
    for (let j = 0; j < dim; j++) {
      const root = Math.fround(Math.sqrt(Math.fround(sample.sums[rowwise ? 0 : j] + EPSILON)));
      sample.values[j] -= Math.fround(Math.fround(RATE * sum[j]) / root);
    }
  }
}

const gradient = Float32Array.from({ length: batch * dim }, () => random() - 0.5);
const sampled = [...samples.keys()];
const times = [];
for (let step = 0; step < steps; step++) {
  const indices = new Uint32Array(batch);
  // Every 64th slice names a sample, so that all of them are trained.
  for (let k = 0; k < batch; k++) {
    indices[k] = k % 64 === 0 ? sampled[Math.floor(random() * sampled.length)] : Math.floor(random() * rows);
  }
  const begin = performance.now();
  await optimizer.applyGradients([[{ indices, values: gradient }, table]]);
  times.push((performance.now() - begin) * 1e6);
  reference(indices, gradient);
}

let trained = 0;
const segments = table.segments;
for (const [row, { values, touched }] of samples) {
  if (touched > 0) trained++;
  const { start, data } = segments.findLast((segment) => segment.start <= row * dim);
  for (let j = 0; j < dim; j++) {
    const actual = data[row * dim - start + j];
    if (!Object.is(actual, values[j]))
      throw new Error(`row ${row}[${j}] is ${actual}, expected ${values[j]}`);
  }
}

const sorted = times.slice(Math.min(5, steps - 1)).sort((a, b) => a - b);
const at = (share) => sorted[Math.floor(share * (sorted.length - 1))];
const payload = 4 * rows * (rowwise ? dim + 1 : 2 * dim);
const after = residence();
const over = (bytes) => `${gib(bytes)}, ${(100 * (bytes / payload - 1)).toFixed(2)} % over the payload`;
console.log(`${count(samples.size)} sampled rows agree in every bit, ${count(trained)} of them trained`);
console.log(
  `a step over ${count(batch)} slices: ${duration(at(0.5))} (${duration(at(0.1))} to ${duration(at(0.9))}), ` +
    `${significant(batch / at(0.5) / 1e-3)} M rows/s`,
);
console.log(`payload                ${gib(payload)}`);
console.log(`memory of the process  ${over(after.rss)}; ${gib(before.rss)} before the table`);
if (after.smaps !== undefined) {
  console.log(`smaps_rollup           ${over(after.smaps)}; in huge pages: ${gib(after.huge)}`);
}
console.log(`address space          ${gib(runtime.memoryBytes)} of memories grown`);
await runtime.close();
if (after.rss > 1.03 * payload && payload > 4 * GIB) process.exitCode = 1;
