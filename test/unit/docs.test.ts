import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as core from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";

/**
 * Every JavaScript example of README.md, docs/ and the docstrings that imports the library runs as it stands, prints
 * what the comment behind a `console.log` says, and ends by itself.
 */

const MOST_MILLISECONDS = 20_000;
/** Child processes at a time: most of an example's time is the start of Node. */
const AT_ONCE = 4;

const root = fileURLToPath(new URL("../..", import.meta.url));
const packages = ["core", "gpu"];
// Inside the repository, so that "@shardgrad/core" resolves; git ignores the name.
const folder = mkdtempSync(join(root, "test/.docs-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Example {
  readonly name: string;
  readonly code: string;
}

function read(...path: string[]): string {
  return readFileSync(join(...path), "utf8").replaceAll("\r\n", "\n");
}

const importsTheLibrary = ({ code }: Example) => /from ["']@shardgrad\/(?:core|gpu)["']/.test(code);

function examplesOfPage(page: string): Example[] {
  return [...read(root, page).matchAll(/^```(?:js|ts)\n(.*?)^```/gms)]
    .map(([, code], i) => ({ name: `${page}, block ${i + 1}`, code: code! }))
    .filter(importsTheLibrary);
}

/** What stands between `@example` and the next tag, or the end of the comment; in a fence or not. */
function examplesOfSource(file: string): Example[] {
  return [...read(root, file).matchAll(/^ *\/\*\*\n.*?\*\//gms)].flatMap(([comment]) => {
    const text = comment.replaceAll(/^ *\*\/?(?: |$)/gm, "");
    return [...text.matchAll(/^@example\n(.*?)(?=^@\w|$(?![\s\S]))/gms)].map(([, code], i) => ({
      name: `${file.slice("packages/".length)}, ${code!.replace(/```\w*\n/, "").split("\n")[1]}${i > 0 ? ` ${i + 1}` : ""}`,
      code: code!.replaceAll(/^```.*$/gm, ""),
    }));
  });
}

const pages = [
  "README.md",
  ...packages.map((name) => `packages/${name}/README.md`),
  ...readdirSync(join(root, "docs"))
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file}`),
];
const files = packages.flatMap((name) =>
  readdirSync(join(root, "packages", name, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => `packages/${name}/src/${file.replaceAll("\\", "/")}`),
);
const docstrings = files.flatMap(examplesOfSource);
const examples = [...pages.flatMap(examplesOfPage), ...docstrings];

interface Ending {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

/** What Dawn says of a Vulkan driver of the machine (lavapipe) when an example looks for a device. */
const ofDriver = /^Warning: max\w+ artificially reduced from .*\n/gm;

function runFile(file: string): Promise<Ending> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, MOST_MILLISECONDS);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr: stderr.replace(ofDriver, ""), timedOut });
    });
  });
}

/** What each example did, by its position; run a few at a time from the start, as tests only wait for theirs. */
const endings: Promise<Ending>[] = [];
const lanes = Array.from({ length: AT_ONCE }, () => Promise.resolve());
examples.forEach(({ code }, i) => {
  const file = join(folder, `example-${i}.mjs`);
  writeFileSync(file, code);
  const ending = lanes[i % AT_ONCE]!.then(() => runFile(file));
  endings.push(ending);
  lanes[i % AT_ONCE] = ending.then(
    () => {},
    () => {},
  );
});

describe("examples in the documentation run and end by themselves", () => {
  test("README.md, docs/ and the docstrings have some", () => {
    expect(examplesOfPage("README.md").length).toBeGreaterThanOrEqual(1);
    for (const page of pages.slice(1)) expect(examplesOfPage(page), page).not.toEqual([]);
    expect(docstrings.length).toBeGreaterThanOrEqual(20);
    expect(docstrings.filter((example) => !importsTheLibrary(example))).toEqual([]);
  });

  test.each(examples.map(({ name }, i) => ({ name, i })))(
    "$name",
    async ({ i }) => {
      const { stdout, ...ending } = await endings[i]!;
      // No warnings either: an example should not make one.
      expect(ending).toEqual({ code: 0, stderr: "", timedOut: false });
      const promised = [...examples[i]!.code.matchAll(/console\.log\(.*\);? \/\/ (.+)$/gm)];
      for (const [, line] of promised) expect(stdout.split("\n")).toContain(line);
    },
    // The first waits for its turn among all of them.
    2 * MOST_MILLISECONDS,
  );
});

/** Public, and yet no example of their own, each with the reason. */
const withoutExample: Readonly<Record<string, string>> = {
  constructor: "the class's example calls it",
  emit: "an optimizer and a runtime emit, users listen",
  wants: "asked before an event's payload is built",
  report: "for errors of listeners",
  once: "as on",
  off: "as on",
  removeAllListeners: "as on",
  listenerCount: "as on",
  aggregateGradients: "called by the step",
  stepApplied: "called by the step",
  checkKnown: "protected",
  makeSlots: "protected",
  kernelUpdate: "protected",
};

type Class = (new (...args: never[]) => unknown) & { readonly prototype: object };

function isClass(value: unknown): value is Class {
  return typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value));
}

/** Names of the methods that a class and its bases, or its statics, have. */
function methodsOf(Class: Class): string[] {
  const names: string[] = [];
  const own = (holder: object) => {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(holder))) {
      if (typeof value === "function") names.push(name);
    }
  };
  for (let proto: object = Class.prototype; proto !== Object.prototype; proto = Object.getPrototypeOf(proto))
    own(proto);
  own(Class);
  return names;
}

describe("what is public has an example", () => {
  // The error classes are documented in docs/errors.md: they are caught, not called.
  const isError = (value: unknown) => isClass(value) && value.prototype instanceof Error;
  const exported = Object.entries(core).filter(([, value]) => !isError(value));
  const text = files.map((file) => read(root, file)).join("\n");

  test.each(exported.map(([name]) => name))("%s has a docstring with an example", (name) => {
    const declared = new RegExp(`^export (?:abstract )?(?:class|function|const) ${name}\\b`, "m").exec(text);
    expect(declared).not.toBeNull();
    const before = text.slice(0, declared!.index);
    const comment = before.slice(before.lastIndexOf("/**"));
    expect(comment.trimEnd().endsWith("*/")).toBe(true);
    expect(comment).toContain("@example");
  });

  const methods = exported.flatMap(([name, value]) =>
    isClass(value) ? [...new Set(methodsOf(value))].map((method) => ({ name, method })) : [],
  );
  const code = examples.map((example) => example.code).join("\n");

  test.each(methods.filter(({ method }) => !(method in withoutExample)))(
    "$name.$method is used in one",
    ({ method }) => {
      expect(new RegExp(`(?:\\.|^ +)${method}\\(`, "m").test(code)).toBe(true);
    },
  );

  test("the errors are all in docs/errors.md", () => {
    const page = read(root, "docs/errors.md");
    for (const [name, value] of Object.entries(core)) {
      if (isError(value)) expect(page).toContain(`\`${name}\``);
    }
  });
});
