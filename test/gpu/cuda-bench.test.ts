// `npm run bench:gpu` on the stub, with tiny sizes: that it runs, and checks what it measures; and what is run before it.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { stubCuda } from "./stub-cuda.js";

const main = fileURLToPath(new URL("../../bench/gpu/main.mjs", import.meta.url));
const run = (...args: string[]) =>
  spawnSync(process.execPath, [main, "--no-peers", ...args], { encoding: "utf8" });
const smoke = fileURLToPath(new URL("../../bench/gpu/smoke.mjs", import.meta.url));
const runSmoke = (...args: string[]) => spawnSync(process.execPath, [smoke, ...args], { encoding: "utf8" });

test("without a device one line says so", () => {
  const { status, stdout } = run("--library", "/no/such/library");
  expect(status).toBe(0);
  expect(stdout).toMatch(/^No device to measure on\. CUDA: no NVIDIA driver: [^\n]+\n$/);
});

test("the smoke test fails without a device", () => {
  const { status, stdout } = runSmoke("--library", "/no/such/library");
  expect(status).toBe(1);
  expect(stdout).toMatch(/\nNo device\. CUDA: no NVIDIA driver: [^\n]+\n$/);
});

const stub = stubCuda();

test.skipIf(typeof stub === "string")("the smoke test compares steps on the device with the CPU's", () => {
  const { path } = stub as Exclude<typeof stub, string>;
  const { status, stdout, stderr } = runSmoke("--library", path, "--only", "slices of 33");
  expect(stderr).toBe("");
  expect(stdout.match(/ same bits \(/g)).toHaveLength(2);
  expect(stdout).toMatch(/\nAll the same\.\n$/);
  expect(status).toBe(0);
});

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
    "sparse zipf, rows summed, update alone",
    "awaited step",
    "library step 2^6, cuda",
    "GPU alone",
    "layers on the GPU",
  ]) {
    expect(stdout).toContain(name);
  }
  expect(stdout).toContain("bits checked");
  expect(stdout).toContain("groups checked");
});
