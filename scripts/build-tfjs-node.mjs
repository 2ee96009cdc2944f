// Builds what the tests on tfjs-node need, in `.tfjs-node/`: the package, whose own install script would download an old
// libtensorflow, and its addon, compiled against the library of TensorFlow's Python package for CPUs. Optional: needs npm,
// a C++ compiler, and pip or an installed TensorFlow (TENSORFLOW_DIR names its folder). About 300 MB to download.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const TFJS_NODE = "4.22.0";
const TENSORFLOW = "2.21.0";
const folder = fileURLToPath(new URL("../.tfjs-node", import.meta.url));
const tfjsNode = join(folder, "node_modules/@tensorflow/tfjs-node");

function run(command, parameters, cwd = folder) {
  console.log(`${command} ${parameters.join(" ")}`);
  const { status, error } = spawnSync(command, parameters, { cwd, stdio: "inherit" });
  if (error || status !== 0) {
    console.error(`${command} failed${error ? `: ${error.message}` : ""}`);
    process.exit(1);
  }
}

function link(target, path) {
  rmSync(path, { force: true });
  symlinkSync(target, path);
}

/** The folder of the Python package. */
function tensorflow() {
  if (process.env.TENSORFLOW_DIR) return resolve(process.env.TENSORFLOW_DIR);
  const target = join(folder, "python");
  if (!existsSync(join(target, "tensorflow"))) {
    const what = ["--no-deps", "--only-binary=:all:", "--target", target, `tensorflow-cpu==${TENSORFLOW}`];
    run("python3", ["-m", "pip", "install", ...what]);
  }
  return join(target, "tensorflow");
}

mkdirSync(folder, { recursive: true });
// A project of its own, outside the workspace.
writeFileSync(join(folder, "package.json"), '{ "private": true }\n');
run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", `@tensorflow/tfjs-node@${TFJS_NODE}`]);
const library = tensorflow();
const deps = join(tfjsNode, "deps");
const output = join(tfjsNode, "lib/napi-v8");
mkdirSync(join(deps, "lib"), { recursive: true });
mkdirSync(output, { recursive: true });
link(join(library, "include"), join(deps, "include"));
// By the names that the linker looks for, and by their own, which the loader does.
for (const [file, name] of [
  ["libtensorflow_cc.so.2", "libtensorflow.so"],
  ["libtensorflow_framework.so.2", "libtensorflow_framework.so"],
]) {
  link(join(library, file), join(deps, "lib", name));
  link(join(library, file), join(deps, "lib", file));
}
const headers = join(dirname(process.execPath), "../include/node");
run(
  "c++",
  [
    ...["-O2", "-std=c++17", "-fPIC", "-shared", "-DNAPI_VERSION=8", "-DBUILDING_NODE_EXTENSION"],
    ...[`-I${headers}`, "-I..", "-Ideps/include", "binding/tfjs_backend.cc", "binding/tfjs_binding.cc"],
    ...["-o", "lib/napi-v8/tfjs_binding.node", "-Ldeps/lib", "-ltensorflow", "-ltensorflow_framework"],
    `-Wl,-rpath,${join(deps, "lib")}`,
  ],
  tfjsNode,
);
console.log(
  "Built. `npx vitest run --project contract-tfjs-tensorflow` and the other tests on tfjs use it from now on.",
);
