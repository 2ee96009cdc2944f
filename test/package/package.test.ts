import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stubCuda } from "../gpu/stub-cuda.js";
import { hasNativeKernels } from "../support/devices.js";

/** What a user installs: the packed tarballs, checked, installed into an empty project and used there. */

const root = fileURLToPath(new URL("../..", import.meta.url));
const bin = join(root, "node_modules", ".bin");
const windows = process.platform === "win32";
const packages = ["workers", "core", "gpu"] as const;
/** What everybody installs; the GPU package is optional. */
const needed = ["workers", "core"] as const;

const scratch = mkdtempSync(join(tmpdir(), "shardgrad-package-"));
const project = join(scratch, "project");
const tarballs: Record<string, string> = {};
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Runs a command; its output, or an error with its output if it fails. */
function run(command: string, parameters: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, parameters, {
    cwd,
    encoding: "utf8",
    shell: windows,
    env: { ...process.env, npm_config_update_notifier: "false" },
  });
  if (error) throw error;
  if (status !== 0)
    throw new Error(`${command} ${parameters.join(" ")} ended with ${status}\n${stdout}${stderr}`);
  return stdout;
}

beforeAll(() => {
  for (const name of packages) {
    run("npm", ["pack", "--pack-destination", scratch], join(root, "packages", name));
    const [file] = readdirSync(scratch).filter((entry) => entry.includes(`shardgrad-${name}-`));
    tarballs[name] = join(scratch, file!);
  }
}, 60_000);

interface Manifest {
  readonly name: string;
  readonly license: string;
  readonly type: string;
  readonly scripts?: Record<string, string>;
  readonly dependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
}

describe.each(packages)("@shardgrad/%s", (name) => {
  const manifest = () => {
    run("tar", ["-xzf", tarballs[name]!, "-C", scratch, "package/package.json"], scratch);
    return JSON.parse(readFileSync(join(scratch, "package", "package.json"), "utf8")) as Manifest;
  };
  const files = () => run("tar", ["-tzf", tarballs[name]!], scratch).trim().split("\n");

  test("publint finds nothing", () => {
    expect(run(join(bin, "publint"), [tarballs[name]!, "--strict"], root)).toMatch(/All good/);
  });

  test("attw finds nothing, for an ESM-only package", () => {
    run(join(bin, "attw"), [tarballs[name]!, "--profile", "esm-only"], root);
  });

  test("no install scripts, MIT, ESM, dependencies that npm can resolve", () => {
    const { scripts = {}, dependencies = {}, license, type } = manifest();
    for (const script of ["preinstall", "install", "postinstall", "prepare"])
      expect(scripts).not.toHaveProperty(script);
    expect([license, type]).toEqual(["MIT", "module"]);
    for (const version of Object.values(dependencies)) expect(version).not.toMatch(/workspace:|file:|link:/);
  });

  test("the tarball holds code, types and licence, and nothing of the tests", () => {
    const list = files();
    for (const file of ["package/LICENSE", "package/dist/index.js", "package/dist/index.d.ts"]) {
      expect(list).toContain(file);
    }
    expect(list.filter((file) => /\.test\.|tsbuildinfo|node_modules/.test(file))).toEqual([]);
    if (name !== "workers") return;
    expect(list.some((file) => file.endsWith(".wasm"))).toBe(true);
    const library = `package/dist/native/${process.platform}-${process.arch}.node`;
    expect(list.filter((file) => file.includes("dist/native"))).toEqual(hasNativeKernels ? [library] : []);
  });
});

function install(): void {
  mkdirSync(project);
  writeFileSync(
    join(project, "package.json"),
    JSON.stringify({ name: "empty", private: true, type: "module" }),
  );
  add(needed.map((name) => tarballs[name]!));
}

function add(tarballsToAdd: readonly string[]): void {
  const options = ["--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"];
  run("npm", ["install", ...options, ...tarballsToAdd], project);
}

describe("in an empty project", () => {
  beforeAll(install, 120_000);

  test("a short program trains, on threads too", () => {
    const program = `
      import { Adagrad, Runtime, Variable } from "@shardgrad/core";
      const runtime = new Runtime({ threads: 2, inlineThreshold: 0 });
      const w = Variable.ones([1000], { runtime });
      const optimizer = new Adagrad({ learningRate: 1, runtime });
      optimizer.on("iteration", ({ device }) => console.log(device, runtime.instructions, w.data[999] < 1));
      await optimizer.applyGradients([[new Float32Array(1000).fill(1), w]]);
    `;
    writeFileSync(join(project, "main.js"), program);
    const [device, instructions, changed] = run(process.execPath, ["main.js"], project).trim().split(" ");
    expect([device, changed]).toEqual(["workers", "true"]);
    expect(instructions !== "simd128").toBe(hasNativeKernels);
  });

  test("require works as well", () => {
    const program = `const { Adagrad } = require("@shardgrad/core"); console.log(typeof Adagrad);`;
    writeFileSync(join(project, "main.cjs"), program);
    expect(run(process.execPath, ["main.cjs"], project)).toBe("function\n");
  });

  /** Trains with a device that cannot be had, and prints why it could not. */
  function trainOn(device: string): string {
    const program = `
      import { Adagrad, Runtime, Variable } from "@shardgrad/core";
      const runtime = new Runtime({ device: "${device}", threads: 0 });
      const w = Variable.ones([3], { runtime });
      runtime.on("deviceChanged", ({ from, to, reason }) => console.log(from, to, reason));
      await new Adagrad({ learningRate: 1, runtime }).applyGradients([[[1, 1, 1], w]]);
      console.log(w.data[0] < 1, ...runtime.placement().reasons);
    `;
    writeFileSync(join(project, "device.js"), program);
    return run(process.execPath, ["device.js"], project);
  }

  const stub = stubCuda();
  test.skipIf(typeof stub === "string")("the GPU package has what CUDA needs, with koffi beside it", () => {
    add([tarballs.gpu!]);
    const koffi = join(project, "node_modules/koffi");
    symlinkSync(realpathSync(new URL("../../node_modules/koffi", import.meta.url)), koffi);
    const program = `
      import { openCuda } from "@shardgrad/gpu";
      const backend = await openCuda({ library: ${JSON.stringify((stub as { path: string }).path)} });
      console.log(backend.description);
      await backend.close();
    `;
    writeFileSync(join(project, "cuda.js"), program);
    expect(run(process.execPath, ["cuda.js"], project)).toBe("Stub GPU 0 (CUDA 12.4)\n");
    rmSync(koffi);
    rmSync(join(project, "node_modules/@shardgrad/gpu"), { recursive: true });
  });

  test("a device that was asked for is not there: why, in a line, and the CPU does the work", () => {
    const without = "@shardgrad/gpu is not installed";
    expect(trainOn("webgpu")).toBe(`webgpu cpu ${without}\ntrue ${without}\n`);
    add([tarballs.gpu!]);
    const broken = 'WebGPU: the package "webgpu" could not be loaded';
    if (process.platform === "linux") process.env.LD_LIBRARY_PATH = join(scratch, "loader");
    mkdirSync(join(scratch, "loader"), { recursive: true });
    writeFileSync(join(scratch, "loader", "libvulkan.so.1"), "not a library");
    const said = trainOn("webgpu");
    expect(said).toMatch(new RegExp(`^webgpu cpu ${broken}: .*webgpu.*\ntrue ${broken}: .*\n$`));
    const unloadable = 'CUDA: the package "koffi" could not be loaded';
    expect(trainOn("cuda")).toMatch(
      new RegExp(`^cuda cpu ${unloadable}: .*koffi.*\ntrue ${unloadable}: .*\n$`),
    );
    const entry = join(project, "node_modules/@shardgrad/gpu/dist/index.js");
    writeFileSync(entry, "throw new Error('half written');");
    expect(trainOn("webgpu")).toMatch(/^webgpu cpu @shardgrad\/gpu could not be loaded: half written\ntrue/);
  });

  test.each(["nodenext", "bundler"])("types resolve under moduleResolution %s", (resolution) => {
    const source = `
      import { Adagrad, type GradientPair, Variable } from "@shardgrad/core";
      const pairs: GradientPair[] = [[new Float32Array(2), Variable.zeros([2])]];
      export const done: Promise<void> = new Adagrad({ learningRate: 0.1 }).applyGradients(pairs);
      // @ts-expect-error types are there, so this is wrong
      new Adagrad({ learningRate: "0.1" });
    `;
    writeFileSync(join(project, "main.ts"), source);
    const options = {
      compilerOptions: {
        target: "es2022",
        lib: ["es2022"],
        module: resolution === "bundler" ? "esnext" : "nodenext",
        moduleResolution: resolution,
        strict: true,
        exactOptionalPropertyTypes: true,
        noEmit: true,
        typeRoots: [join(root, "node_modules", "@types")], // as in any TypeScript project on Node
        types: ["node"],
      },
      files: ["main.ts"],
    };
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify(options));
    run(join(bin, "tsc"), ["-p", project], project);
  });
});
