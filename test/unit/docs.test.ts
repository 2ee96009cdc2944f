import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
// Inside the repository, so that "@shardgrad/core" resolves.
const folder = mkdtempSync(join(root, "test/.docs-"));
afterAll(() => rmSync(folder, { recursive: true }));

const pages = ["README.md", ...readdirSync(join(root, "docs")).map((page) => `docs/${page}`)];
const examples = pages.flatMap((page) =>
  [...readFileSync(join(root, page), "utf8").matchAll(/```js\n(.*?)```/gs)].map(([, code], i) => ({
    name: `${page} ${i + 1}`,
    code: code!,
  })),
);

describe("examples in the documentation run and end by themselves", () => {
  test("there are some", () => expect(examples.length).toBeGreaterThanOrEqual(2));

  test.each(examples)("$name", ({ name, code }) => {
    const file = join(folder, `${name.replaceAll(/\W/g, "-")}.mjs`);
    writeFileSync(file, code);
    const { status, stderr } = spawnSync(process.execPath, [file], { encoding: "utf8", timeout: 20_000 });
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });
});
