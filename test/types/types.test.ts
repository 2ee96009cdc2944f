import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

function compile(project: string): string {
  const { stdout, stderr, status } = spawnSync("node_modules/.bin/tsc", ["--noEmit", "-p", project], {
    cwd: root,
    encoding: "utf8",
    shell: process.platform === "win32",
  });
  return status === 0 ? "" : stdout + stderr;
}

test("the public types accept what they should and refuse what they should", () => {
  expect(compile("test/types")).toBe("");
});

test("the tests themselves fit the public types", () => {
  expect(compile("test")).toBe("");
});
