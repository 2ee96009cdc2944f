#!/usr/bin/env node
/** `npm run bench`: see README.md. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { clip, dense, ema, many } from "./cases/dense.mjs";
import { eventloop } from "./cases/eventloop.mjs";
import { single } from "./cases/single.mjs";
import { sparse } from "./cases/sparse.mjs";
import { tableema } from "./cases/table-ema.mjs";
import { tables } from "./cases/tables.mjs";
import { copyBandwidth } from "./lib/bandwidth.mjs";
import { removeIndices } from "./lib/indices.mjs";
import { machine } from "./lib/machine.mjs";
import { CASES, readOptions } from "./lib/options.mjs";
import { findPeers, PEERS, PeerGroup } from "./lib/peers.mjs";
import { Report } from "./lib/report.mjs";
import { closeRuntimes, instructions, loadShardgrad, warmUp } from "./lib/shardgrad.mjs";
import { significant } from "./lib/table.mjs";
import { verdicts } from "./lib/targets.mjs";
import { removeYardstick } from "./lib/yardstick.mjs";

/** @type {Record<string, (context: import("./cases/context.mjs").Context) => Promise<void>>} */
const cases = { single, dense, ema, clip, many, sparse, tables, tableema, eventloop };

const options = readOptions(process.argv.slice(2));
const begin = performance.now();
await loadShardgrad(options.kernels);

const host = machine();
console.log(
  `Node ${host.node}, ${host.platform}, ${host.cpu}, ${host.parallelism} processors, ${host.memoryGiB} GiB`,
);

console.log(`Shardgrad's kernels: ${options.kernels}, on ${await instructions()}`);

const found = options.peers ? findPeers(options.pythons) : new Map();
for (const [name, { title }] of Object.entries(PEERS)) {
  if (options.peers && !found.has(name)) {
    console.log(`${title} was not found; how to get it: node bench/peers/how.mjs`);
  }
}

const peers = new PeerGroup(found);
await peers.start();

const seconds = options.quick ? 0.3 : 1;
const measureBandwidth = async () => ({
  1: await copyBandwidth(1, seconds),
  2: await copyBandwidth(2, seconds),
});
const bandwidth = await measureBandwidth();
const gigabytes = (/** @type {number} */ rate) => significant(rate / 1e9);
const state = (/** @type {{ 1: number, 2: number }} */ of) =>
  `${gigabytes(of[1])} GB/s with 1 thread, ${gigabytes(of[2])} with 2`;
console.log(`Copy bandwidth (bytes read + written): ${state(bandwidth)}`);
console.log(
  "Model: an element moves 20 B (g, acc, w read; acc, w written), 28 with EMA, 4 more for a norm; a slice\n" +
    "4·dim + 4, a distinct row 16·dim. Data that stays in the caches can move faster than memory copies.\n" +
    `Times are medians with the 10th and 90th percentile of ${options.rounds} round(s) of ${options.seconds} s,\n` +
    "all contestants in turn. Threads of an asynchronous step: the caller's not counted.",
);

const report = new Report(bandwidth);
try {
  await warmUp();
  for (const name of CASES) {
    if (options.only.has(name)) await cases[name]({ options, report, peers });
  }
} finally {
  peers.close();
  removeIndices();
  removeYardstick();
  await closeRuntimes();
}

const after = await measureBandwidth();
console.log(`\nCopy bandwidth at the end: ${state(after)}`);
const { versions } = report;
for (const [peer, version] of Object.entries(versions)) console.log(`${peer}: ${version}`);
const reached = verdicts(report);
const minutes = (performance.now() - begin) / 60_000;
console.log(`\n${minutes.toFixed(1)} minutes`);

if (options.json) {
  mkdirSync(dirname(options.json), { recursive: true });
  const record = { machine: host, versions, bandwidth: { before: bandwidth, after }, ...report.extra };
  writeFileSync(
    options.json,
    `${JSON.stringify({ ...record, sections: report.sections, reached }, null, 1)}\n`,
  );
}
