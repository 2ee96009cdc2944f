import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";

/** Every JavaScript example of README.md and docs/ that imports the library runs as it stands. */

const MOST_MILLISECONDS = 20_000;

const root = fileURLToPath(new URL("../..", import.meta.url));
// Inside the repository, so that "@shardgrad/core" resolves; git ignores the name.
const folder = mkdtempSync(join(root, "test/.docs-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const docs = readdirSync(join(root, "docs")).filter((file) => file.endsWith(".md"));
const pages = ["README.md", ...docs.map((file) => `docs/${file}`)];

function examplesOf(page: string): { name: string; code: string }[] {
  const blocks = [...readFileSync(join(root, page), "utf8").matchAll(/^```js\r?\n(.*?)^```/gms)];
  return blocks
    .map(([, code], i) => ({ name: `${page}, block ${i + 1}`, code: code! }))
    .filter(({ code }) => /from ["']@shardgrad\/core["']/.test(code));
}

interface Ending {
  readonly code: number | null;
  readonly stderr: string;
  readonly timedOut: boolean;
}

function runFile(file: string): Promise<Ending> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file], { stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, MOST_MILLISECONDS);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code, stderr, timedOut });
    });
  });
}

const examples = pages.flatMap(examplesOf);

describe("examples in the documentation run and end by themselves", () => {
  test("README.md and docs/ have some", () => {
    expect(examplesOf("README.md").length).toBeGreaterThanOrEqual(1);
    expect(examples.length).toBeGreaterThanOrEqual(5);
  });

  test.each(examples)(
    "$name",
    async ({ name, code }) => {
      const file = join(folder, `${name.replaceAll(/\W+/g, "-")}.mjs`);
      writeFileSync(file, code);
      // No warnings either: an example should not make one.
      expect(await runFile(file)).toEqual({ code: 0, stderr: "", timedOut: false });
    },
    MOST_MILLISECONDS + 5_000,
  );
});
