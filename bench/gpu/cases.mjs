/** What is measured on the device, one function for each case; each gives rows for the report. */
import {
  CLIP_SLOT_ELEMENTS,
  clipKinds,
  emaKinds,
  groupCommands,
  partWords,
  sortBytes,
  sortShape,
} from "@shardgrad/gpu";
import { denseTraffic, sparseTraffic } from "../lib/bytes.mjs";
import { GLOBAL_CLIPNORM, INITIAL_ACCUMULATOR, ZIPF_EXPONENT } from "../lib/hyper.mjs";
import { uniqueRows, zipfRows } from "../lib/random.mjs";
import { same, stepped, withSquare } from "../lib/reference.mjs";
import { summarize } from "../lib/statistics.mjs";
import { tilesOf } from "./device.mjs";

/**
 * @typedef {import("./device.mjs").Device} Device
 * @typedef {import("./options.mjs").Options} Options
 * @typedef {{ name: string, case: string, elements: number, variables?: number, traffic?: number, note?: string,
 *   peer?: { rows: number, dim: number, indices: number[] }, result: import("../lib/statistics.mjs").Summary }} Row times
 *   in ns, traffic in bytes of a step; `peer`: what PyTorch is to do for a sparse one
 */

const GRADIENT = Math.fround(0.01);
const WEIGHT = 0.5;

/** @param {Options} options */
function denseSizes({ quick, largest }) {
  const powers = quick ? [20, 24, 26, 28] : [20, 21, 22, 23, 24, 25, 26, 27, 28];
  const within = powers.filter((power) => power <= largest);
  return (within.length > 0 ? within : [largest]).map((power) => 2 ** power);
}

/**
 * @param {Device} device
 * @param {Options} options
 * @param {"dense" | "ema" | "clip"} name
 * @returns {Promise<Row[]>}
 */
export async function dense(device, options, name) {
  const rows = [];
  for (const elements of denseSizes(options)) {
    const arrays = name === "ema" ? 4 : 3;
    if (!device.hasRoom(arrays * 4 * elements)) {
      console.log(`${name}, 2^${Math.log2(elements)}: left out, too little memory on the device`);
      continue;
    }
    const step = denseStep(device, name, [elements]);
    const expected = await checkFirstStep(step, name, elements);
    const result = await device.time(options.samples, step.run);
    const traffic = denseTraffic(elements, { ema: name === "ema", norm: name === "clip" }).bytes;
    rows.push({
      name: `${name} 2^${Math.log2(elements)}`,
      case: name,
      elements,
      traffic,
      result,
      note: expected,
    });
    await device.clear();
  }
  return rows;
}

/**
 * One step over variables of these sizes, in as few launches as there are kernels.
 * @param {Device} device
 * @param {"dense" | "ema" | "clip"} name
 * @param {readonly number[]} sizes
 */
function denseStep(device, name, sizes) {
  const words = [];
  let [at, tiles] = [0, 0];
  for (const size of sizes) {
    // For a sum of squares the third number is the place of the range's first sum.
    words.push(tiles, size, at, at, at, at, 0, 0);
    tiles += tilesOf(size);
    at += Math.ceil(size / 64) * 64;
  }
  const variable = device.filled(at, WEIGHT);
  const accumulator = device.filled(at, INITIAL_ACCUMULATOR);
  const average = name === "ema" ? device.filled(at, WEIGHT) : device.room(4);
  const gradient = device.filled(at, GRADIENT);
  const ranges = device.uploaded(Uint32Array.from(words));
  const clips = device.room(4 * CLIP_SLOT_ELEMENTS);
  const commands = [];
  if (name === "clip") {
    const normRanges = Uint32Array.from(words);
    for (let i = 0; i < sizes.length; i++) normRanges[8 * i + 2] = normRanges[8 * i];
    const partials = device.room(8 * tiles);
    const groups = device.uploaded(Uint32Array.of(0, tiles, 0, 0));
    const named = { gradient, ranges: device.uploaded(normRanges), partials, groups, clips };
    const scale = { limit: GLOBAL_CLIPNORM, clipKind: clipKinds.scale };
    commands.push(device.command("sumSquares", named, { rangeCount: sizes.length }, tiles));
    commands.push(device.command("clipScalars", named, scale, 1));
  }
  const update = {
    rangeCount: sizes.length,
    clipKind: name === "clip" ? clipKinds.scale : clipKinds.none,
    emaKind: name === "ema" ? emaKinds.update : emaKinds.none,
  };
  const buffers = { variable, accumulator, average, gradient, ranges, clips };
  commands.push(device.command("adagradDense", buffers, update, tiles));
  return { device, variable, accumulator, run: () => device.launch(...commands) };
}

/**
 * A figure whose result is wrong is not printed.
 * @param {ReturnType<typeof denseStep>} step
 * @param {string} name
 * @param {number} elements
 */
async function checkFirstStep({ device, variable, accumulator, run }, name, elements) {
  run();
  const count = Math.min(elements, 5000);
  const weights = await device.read(variable, count);
  const sums = await device.read(accumulator, count);
  const norm = Math.sqrt(elements) * GRADIENT;
  const g = name === "clip" && norm > GLOBAL_CLIPNORM ? (GRADIENT * GLOBAL_CLIPNORM) / norm : GRADIENT;
  const tolerance = name === "clip" ? 1e-5 : 0;
  const sum = withSquare(Math.fround(INITIAL_ACCUMULATOR), Math.fround(g));
  for (let i = 0; i < count; i++) {
    same(`accumulator ${i}`, sums[i], sum, tolerance);
    same(`weight ${i}`, weights[i], stepped(WEIGHT, sum, Math.fround(g)), tolerance);
  }
  return tolerance === 0 ? "bits checked" : "checked";
}

/**
 * @param {Device} device
 * @param {Options} options
 * @returns {Promise<Row[]>}
 */
export async function many(device, options) {
  const sizes = Array(1000).fill(1000);
  const step = denseStep(device, "dense", sizes);
  const note = await checkFirstStep(step, "dense", 1000);
  const result = await device.time(options.samples, step.run);
  await device.clear();
  const traffic = denseTraffic(1e6).bytes;
  return [
    {
      name: "1,000 variables of 1,000",
      case: "many",
      elements: 1000,
      variables: 1000,
      traffic,
      result,
      note,
    },
  ];
}

/**
 * Steps with slices: row numbers and values are on the device, grouping by row is a part of the step.
 * @param {Device} device
 * @param {Options} options
 * @returns {Promise<Row[]>}
 */
export async function sparse(device, { rows, slices, samples }) {
  const dim = 64;
  if (!device.hasRoom(2 * 4 * rows * dim + 4 * slices * dim)) {
    console.log("sparse: left out, too little memory on the device");
    return [];
  }
  const variable = device.filled(rows * dim, WEIGHT);
  const accumulator = device.filled(rows * dim, INITIAL_ACCUMULATOR);
  const values = device.filled(slices * dim, GRADIENT);
  const clips = device.room(4 * CLIP_SLOT_ELEMENTS);
  const found = [];
  for (const kind of ["unique", "zipf"]) {
    const indices =
      kind === "unique" ? uniqueRows(rows, slices, 1) : zipfRows(rows, slices, ZIPF_EXPONENT, 1);
    const { commands, order, rowGroups } = grouping(device, rows, indices);
    device.launch(...commands);
    const distinct = await checkGroups(device, order, rowGroups, indices);
    for (const perRow of kind === "unique" ? [0] : [0, 1]) {
      // Neither average nor factors are touched: averages are kept for all rows, or not at all.
      const untouched = { average: clips, factors: clips };
      const buffers = { variable, accumulator, values, order, rowGroups, clips, ...untouched };
      const update = device.command("adagradRows", buffers, { perRow, rowSize: dim }, slices);
      const whole = await device.time(samples, () => device.launch(...commands, update));
      const alone = await device.time(samples, () => device.launch(update));
      const name = `sparse ${kind}${kind === "zipf" ? `, ${perRow ? "rows summed" : "each slice squared"}` : ""}`;
      const traffic = sparseTraffic(slices, distinct, dim).bytes;
      const row = { case: "sparse", elements: slices * dim, traffic };
      const note = `${distinct} rows, grouped in ${commands.length} launches; groups checked`;
      // PyTorch sums the slices of a row first.
      const peer = kind === "unique" || perRow === 1 ? { rows, dim, indices: [...indices] } : undefined;
      found.push({ ...row, name, result: whole, note, peer });
      found.push({ ...row, name: `${name}, update alone`, result: alone, note: "grouped before" });
    }
  }
  await device.clear();
  return found;
}

/**
 * Commands that group the slices of one table.
 * @param {Device} device
 * @param {number} rows
 * @param {Int32Array} indices
 */
function grouping(device, rows, indices) {
  const shape = sortShape(indices.length, rows, 1);
  const bytes = sortBytes(shape);
  const [order, rowGroups] = [device.room(bytes.order), device.room(bytes.rowGroups)];
  const commands = groupCommands(shape, {
    rows: device.uploaded(Uint32Array.from(indices)),
    parts: device.uploaded(partWords([{ slices: indices.length, rows, parts: [{ start: 0 }] }])),
    behind: undefined,
    order,
    rowGroups,
    even: device.room(bytes.even),
    odd: device.room(bytes.odd),
    counters: device.room(bytes.counters),
  });
  return { commands, order, rowGroups };
}

/**
 * How many rows are named, by the device; it fails where a slice is not in its place.
 * @param {Device} device
 * @param {import("./device.mjs").Binding} order
 * @param {import("./device.mjs").Binding} rowGroups
 * @param {Int32Array} indices
 */
async function checkGroups(device, order, rowGroups, indices) {
  const expected = Uint32Array.from(indices, (_, i) => i).sort((a, b) => indices[a] - indices[b] || a - b);
  const read = new Uint32Array(indices.length);
  await device.backend.download(order.buffer, 0, read);
  expected.forEach((slice, i) => {
    same(`slice at ${i}`, read[i], slice, 0);
  });
  const header = new Uint32Array(2);
  await device.backend.download(rowGroups.buffer, 0, header);
  const distinct = header[1] - header[0];
  same("rows", distinct, new Set(indices).size, 0);
  return distinct;
}

/**
 * From the call to the promise, as a program sees it: gradient up, launch, wait.
 * @param {Device} device
 * @param {Options} options
 * @returns {Promise<Row[]>}
 */
export async function latency(device, { samples }) {
  const found = [];
  for (const elements of [64, 65_536]) {
    const step = denseStep(device, "dense", [elements]);
    const gradient = device.uploaded(new Float32Array(elements).fill(GRADIENT));
    const host = new Float32Array(new SharedArrayBuffer(4 * elements)).fill(GRADIENT);
    const taken = [];
    for (let i = 0; i < samples * 10; i++) {
      const begin = performance.now();
      device.backend.uploadInPlace(gradient.buffer, 0, host);
      step.run();
      await device.backend.finished();
      if (i >= samples) taken.push((performance.now() - begin) * 1e6);
    }
    found.push({ name: `awaited step of ${elements}`, case: "latency", elements, result: summarize(taken) });
    await device.clear();
  }
  return found;
}

/**
 * Gradients from shared memory to the device, by the caller's clock.
 * @param {Device} device
 * @param {Options} options
 * @returns {Promise<Row[]>}
 */
export async function upload(device, { largest, samples }) {
  const elements = 2 ** Math.min(24, largest);
  const host = new Float32Array(new SharedArrayBuffer(4 * elements)).fill(GRADIENT);
  const target = device.room(4 * elements);
  const found = [];
  for (const inPlace of [true, false]) {
    const taken = [];
    for (let i = 0; i < samples + 2; i++) {
      const begin = performance.now();
      if (inPlace) device.backend.uploadInPlace(target.buffer, 0, host);
      else device.backend.upload(target.buffer, 0, host);
      await device.backend.finished();
      if (i >= 2) taken.push((performance.now() - begin) * 1e6);
    }
    const name = inPlace ? "gradient read in place" : "gradient through staging";
    found.push({ name, case: "upload", elements, traffic: 4 * elements, result: summarize(taken) });
  }
  await device.clear();
  return found;
}
