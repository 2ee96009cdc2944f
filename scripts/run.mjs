// One entry for every command, so that a fresh machine needs only Node and npm: it installs what is missing
// with the pinned pnpm (through npx), builds, then does what was asked for.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const { packageManager } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const [task = "build", ...args] = process.argv.slice(2);

/** Runs a command in the root and ends this process if it fails. */
function run(command, parameters, options = {}) {
  const { status, error } = spawnSync(command, parameters, { cwd: root, stdio: "inherit", ...options });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

function isInstalled() {
  const stamp = `${root}node_modules/.modules.yaml`;
  return existsSync(stamp) && statSync(stamp).mtimeMs >= statSync(`${root}pnpm-lock.yaml`).mtimeMs;
}

function install() {
  if (isInstalled()) return;
  run("npx", ["--yes", packageManager, "install", "--frozen-lockfile"], {
    shell: process.platform === "win32",
  });
}

function bin(name) {
  return `${root}node_modules/.bin/${name}${process.platform === "win32" ? ".cmd" : ""}`;
}

function build() {
  run(bin("asc"), ["--config", "asconfig.json", "--target", "release"], { cwd: `${root}packages/workers` });
  run(bin("tsc"), ["-b"]);
  run(process.execPath, ["scripts/build-native.mjs"]);
}

const tasks = {
  build() {},
  start: () => run(process.execPath, ["examples/dist/wordnet/main.js", ...args]),
  test: () => run(process.execPath, ["node_modules/vitest/vitest.mjs", "run", ...args]),
  bench: () => run(process.execPath, ["bench/main.mjs", ...args]),
  "bench:gpu": () => run(process.execPath, ["bench/gpu/main.mjs", ...args]),
  lint: () => run(bin("biome"), ["check", ".", ...args]),
  format: () => run(bin("biome"), ["check", "--write", ".", ...args]),
};
/** They look at the sources alone. */
const withoutBuild = ["lint", "format"];

if (!Object.hasOwn(tasks, task)) {
  console.error(`Unknown task ${task}: expected one of ${Object.keys(tasks).join(", ")}`);
  process.exit(2);
}
install();
if (!withoutBuild.includes(task)) build();
tasks[task]();
