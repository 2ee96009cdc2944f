#!/usr/bin/env node
/** `npm run bench:gpu`: kernels on the device against its own copy bandwidth and PyTorch. See README.md beside. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { openCuda } from "@shardgrad/gpu";
import { machine } from "../lib/machine.mjs";
import { duration, significant, table } from "../lib/table.mjs";
import { dense, latency, many, sparse, upload } from "./cases.mjs";
import { Device } from "./device.mjs";
import { CASES, readOptions } from "./options.mjs";
import { hybrid, step } from "./program.mjs";
import { openTorch } from "./torch.mjs";

const options = readOptions(process.argv.slice(2));
// The library opens the device by itself, too.
if (options.library !== undefined) process.env.SHARDGRAD_CUDA_LIBRARY = options.library;
const backend = await openCuda(options.device === undefined ? {} : { device: options.device });
if (typeof backend === "string") {
  console.log(`No device to measure on. ${backend}`);
  process.exit(0);
}

const device = new Device(backend);
const host = machine();
console.log(`Node ${host.node}, ${host.platform}, ${host.cpu}, ${host.parallelism} processors`);
console.log(backend.description);

const peer = options.peers ? await openTorch(options.pythons) : "not asked for";
if (typeof peer === "string") console.log(`PyTorch: left out, ${peer}`);
else console.log(peer.version);

const copyBefore = await copyBandwidth();
console.log(`Copy within the device: ${significant(copyBefore / 1e9)} GB/s (bytes read + written)`);
console.log(
  "Model: an element moves 20 B (g, acc, w read; acc, w written), 28 with EMA, 4 more for a norm; a slice\n" +
    `4·dim + 4, a distinct row 16·dim (sparse: grouping moves more, in the cache). Medians of ${options.samples} samples by the device's clock; latency,\n` +
    "upload, step and hybrid by the caller's, with the 10th and 90th percentile.",
);

/** @type {Record<string, () => Promise<import("./cases.mjs").Row[]>>} */
const cases = {
  dense: () => dense(device, options, "dense"),
  ema: () => dense(device, options, "ema"),
  clip: () => dense(device, options, "clip"),
  many: () => many(device, options),
  sparse: () => sparse(device, options),
  latency: () => latency(device, options),
  upload: () => upload(device, options),
  step: () => step(options),
  hybrid: () => hybrid(options),
};
const rows = [];
for (const name of CASES) {
  if (!options.only.has(name)) continue;
  for (const row of await cases[name]()) {
    const { peer: _, ...told } = row;
    rows.push({ ...told, peers: await peerTimes(row) });
  }
}
const copyAfter = await copyBandwidth();
print();
await backend.close();
if (typeof peer !== "string") peer.torch.close();
if (options.json !== undefined) {
  mkdirSync(dirname(options.json), { recursive: true });
  const record = { host, device: backend.description, copy: [copyBefore, copyAfter], rows };
  writeFileSync(options.json, `${JSON.stringify(record, null, 1)}\n`);
}

/** Bytes read + written a second, by the driver's copy within the device. */
async function copyBandwidth() {
  const bytes = Math.min(2 ** (options.largest + 2), 2 ** 29);
  const [from, to] = [device.room(bytes), device.room(bytes)];
  const { median } = await device.time(options.samples, () => {
    backend.copyOnDevice(from.buffer, to.buffer, bytes);
  });
  await device.clear();
  return (2 * bytes) / (median / 1e9);
}

/** @param {import("./cases.mjs").Row} row */
async function peerTimes(row) {
  if (typeof peer === "string") return {};
  if (row.peer !== undefined)
    return { sparse: await peer.torch.time({ case: "sparse", ...row.peer, samples: options.samples }) };
  if (!["dense", "ema", "clip", "many"].includes(row.case)) return {};
  const request = { case: row.case, elements: row.elements, variables: row.variables ?? 1 };
  const times = {};
  for (const variant of ["fused", "foreach"]) {
    times[variant] = await peer.torch.time({ ...request, variant, samples: options.samples });
  }
  return times;
}

function print() {
  const columns = [
    { title: "work", width: 36, left: true },
    { title: "time", width: 9 },
    { title: "p10", width: 9 },
    { title: "p90", width: 9 },
    { title: "GB/s", width: 6 },
    { title: "of copy", width: 8 },
    { title: "fused ÷", width: 8 },
    { title: "foreach ÷", width: 9 },
    { title: "sparse ÷", width: 8 },
    { title: "", width: 40, left: true },
  ];
  const ratio = (/** @type {unknown} */ time, /** @type {number} */ ours) =>
    typeof time === "object" && time !== null
      ? `${significant(/** @type {{ median: number }} */ (time).median / ours)}×`
      : "";
  const cells = rows.map(({ name, case: kind, traffic, result, note, peers }) => {
    const rate = traffic === undefined ? Number.NaN : traffic / (result.median / 1e9);
    const share = ["upload", "step"].includes(kind) ? Number.NaN : (100 * rate) / copyBefore;
    return [
      name,
      duration(result.median),
      duration(result.p10),
      duration(result.p90),
      significant(rate / 1e9),
      Number.isNaN(share) ? "" : `${share.toFixed(0)} %`,
      ratio(peers.fused, result.median),
      ratio(peers.foreach, result.median),
      ratio(peers.sparse, result.median),
      note ?? "",
    ];
  });
  console.log(`\n${table(columns, cells)}`);
  const errors = new Set(
    rows
      .flatMap(({ peers }) => Object.entries(peers).filter(([, time]) => typeof time === "string"))
      .map(String),
  );
  for (const error of errors) console.log(`PyTorch ${error.replace(",", ": ")}`);
  console.log(`\nCopy within the device at the end: ${significant(copyAfter / 1e9)} GB/s`);
}
