// Builds the native kernels where a C compiler is at hand. Without one the WebAssembly kernels do all the work, so
// nothing here may fail the build.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../packages/workers/native", import.meta.url));
const folder = fileURLToPath(new URL("../packages/workers/dist/native", import.meta.url));
const output = join(folder, `${process.platform}-${process.arch}.node`);

/** Instruction sets by architecture, the flags that they need beside the common ones. */
const sets = {
  x64: {
    baseline: [],
    avx2: ["-mavx2"],
    avx512: ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mprefer-vector-width=512"],
  },
  arm64: { baseline: [] },
}[process.arch];

// No relaxed arithmetic: -fno-math-errno and -fno-trapping-math only say that nobody looks at errno or at the
// processor's exception flags; -ffp-contract=off keeps multiply and add apart.
const flags = [
  "-std=gnu11",
  "-O3",
  "-fPIC",
  "-fvisibility=hidden",
  "-Wall",
  "-Wextra",
  "-Werror=implicit-function-declaration",
  "-ffp-contract=off",
  "-fno-math-errno",
  "-fno-trapping-math",
];

function upToDate() {
  if (!existsSync(output)) return false;
  const built = statSync(output).mtimeMs;
  const sources = readdirSync(source).map((name) => join(source, name));
  return [...sources, fileURLToPath(import.meta.url)].every((path) => statSync(path).mtimeMs < built);
}

function headers() {
  try {
    return createRequire(import.meta.url)("node-api-headers").include_dir;
  } catch {
    return undefined;
  }
}

/** Runs the compiler; its messages when it fails. */
function compile(compiler, args) {
  const { status, stderr, error } = spawnSync(compiler, args, { cwd: source, encoding: "utf8" });
  if (error) return error.code === "ENOENT" ? `no C compiler (${compiler})` : error.message;
  return status === 0 ? undefined : `${compiler} ${args.join(" ")}\n${stderr}`;
}

function build() {
  if (process.platform === "win32" || sets === undefined)
    return `not for ${process.platform}-${process.arch}`;
  const include = headers();
  if (include === undefined) return "node-api-headers is not installed";
  const compiler = process.env.CC ?? "cc";
  mkdirSync(folder, { recursive: true });
  const objects = [];
  const object = (name, file, ...more) => {
    const path = join(folder, `${name}.o`);
    objects.push(path);
    return compile(compiler, [...flags, ...more, "-c", file, "-o", path]);
  };
  try {
    for (const [name, more] of Object.entries(sets)) {
      const failed = object(name, "kernels.c", `-DINSTRUCTIONS=${name}`, ...more);
      if (failed) return failed;
    }
    const link =
      process.platform === "darwin" ? ["-bundle", "-undefined", "dynamic_lookup"] : ["-shared", "-s"];
    return (
      object("addon", "addon.c", `-I${include}`) ?? compile(compiler, [...link, ...objects, "-o", output])
    );
  } finally {
    for (const path of objects) rmSync(path, { force: true });
  }
}

if (!upToDate()) {
  const failed = build();
  if (failed !== undefined) console.log(`Native kernels are left out, WebAssembly does the work: ${failed}`);
}
