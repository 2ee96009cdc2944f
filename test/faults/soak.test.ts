import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

/** The soak of scripts/soak.mjs, for some seconds: everything happens in it, the bits agree, nothing leaks. */

const script = fileURLToPath(new URL("../../scripts/soak.mjs", import.meta.url));

test("steps, resizes, expiry, new maps and readers, against a replay on one thread", async () => {
  const options = "--minutes 0.05 --steps 150 --seed 3 --threads 3 --readers 1".split(" ");
  const { stdout } = await promisify(execFile)(process.execPath, [script, ...options]);
  expect(stdout).toContain("and no leak");
  const last = stdout.split("\n").findLast((line) => line.includes(" steps, "))!;
  // Memory aside: steps, resizes, what was expired and made anew, and what the reader saw.
  const counts = last
    .replaceAll(/[\d.]+ MiB/g, "")
    .match(/\d+/g)!
    .map(Number);
  expect(counts.length).toBe(11);
  expect(Math.min(...counts)).toBeGreaterThan(0);
});
