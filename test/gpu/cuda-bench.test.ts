// `npm run bench:gpu` on the stub, with tiny sizes: that it runs, and checks what it measures.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { stubCuda } from "./stub-cuda.js";

const main = fileURLToPath(new URL("../../bench/gpu/main.mjs", import.meta.url));
const run = (...args: string[]) =>
  spawnSync(process.execPath, [main, "--no-peers", ...args], { encoding: "utf8" });

test("without a device one line says so", () => {
  const { status, stdout } = run("--library", "/no/such/library");
  expect(status).toBe(0);
  expect(stdout).toMatch(/^No device to measure on\. CUDA: no NVIDIA driver: [^\n]+\n$/);
});

const stub = stubCuda();

test.skipIf(typeof stub === "string")(`all cases run${typeof stub === "string" ? ` (${stub})` : ""}`, () => {
  const { path } = stub as Exclude<typeof stub, string>;
  const tiny = ["--quick", "--largest", "12", "--rows", "3000", "--slices", "500"];
  const { status, stdout, stderr } = run("--library", path, ...tiny);
  expect(stderr).toBe("");
  expect(status).toBe(0);
  for (const name of [
    "dense 2^12",
    "ema 2^12",
    "clip 2^12",
    "1,000 variables",
    "sparse unique",
    "awaited step",
    "library step 2^6, cuda",
    "GPU alone",
    "layers on the GPU",
  ]) {
    expect(stdout).toContain(name);
  }
  expect(stdout).toContain("bits checked");
});
