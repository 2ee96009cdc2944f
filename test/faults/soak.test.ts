import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

/** The soak of scripts/soak.mjs, for some seconds: everything happens in it, the bits agree, nothing leaks. */

const script = fileURLToPath(new URL("../../scripts/soak.mjs", import.meta.url));

test("steps, resizes, expiry and new maps, against a replay on one thread", async () => {
  const options = ["--minutes", "0.05", "--steps", "150", "--seed", "3", "--threads", "3"];
  const { stdout } = await promisify(execFile)(process.execPath, [script, ...options]);
  expect(stdout).toContain("and no leak");
  const counts = /: (\d+) steps, (\d+) resizes, (\d+) rows expired, (\d+) new maps;/.exec(stdout);
  for (const count of counts?.slice(1) ?? ["0"]) expect(Number(count)).toBeGreaterThan(0);
});
