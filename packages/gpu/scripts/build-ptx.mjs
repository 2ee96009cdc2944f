// Makes cuda/kernels.ptx from cuda/kernels.cu: `node packages/gpu/scripts/build-ptx.mjs`, or with --check compares, or
// with a path writes there. It needs clang 19 (Debian: apt-get install clang-19) and nothing of the CUDA toolkit. The
// text depends on the compiler's version, so the version is fixed.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const clangVersion = 19;
const source = fileURLToPath(new URL("../cuda/kernels.cu", import.meta.url));
const target = fileURLToPath(new URL("../cuda/kernels.ptx", import.meta.url));

// Turing and later, and drivers from 2019 on (PTX 6.4 came with CUDA 10.1). -ffp-contract=off makes every operation one
// that the driver's compiler must not fuse (.rn). No CUDA toolkit is looked for: it would change the PTX version.
const flags = [
  "--target=nvptx64-nvidia-cuda",
  "--cuda-path=/nonexistent",
  "-march=sm_75",
  ..."-Xclang -target-feature -Xclang +ptx64".split(" "),
  ..."-x c++ -std=c++17 -nostdinc -fno-exceptions -fno-rtti -fconvergent-functions".split(" "),
  ..."-O3 -ffp-contract=off -Wall -Wextra -Werror -S -o -".split(" "),
];

/** The path of the compiler; a line that says why there is none otherwise. */
export function findClang() {
  for (const name of [process.env.CLANG, `clang-${clangVersion}`, "clang"]) {
    if (!name) continue;
    const { status, stdout } = spawnSync(name, ["--version"], { encoding: "utf8" });
    if (status === 0 && new RegExp(`clang version ${clangVersion}\\.`).test(stdout)) return { clang: name };
  }
  return { missing: `clang ${clangVersion} is not installed` };
}

/** The PTX text, without comments and indentation. */
export function buildPtx(clang) {
  const { status, stdout, stderr, error } = spawnSync(clang, [...flags, source], {
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) throw new Error(`${clang} failed: ${error?.message ?? stderr}`);
  const lines = stdout.split("\n").map((line) =>
    line
      .replace(/\/\/.*$/, "")
      .replace(/\s+/g, " ")
      .trim(),
  );
  const head = `// Made by packages/gpu/scripts/build-ptx.mjs from kernels.cu; do not edit.`;
  return `${[head, ...lines.filter((line) => line !== "")].join("\n")}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { clang, missing } = findClang();
  if (missing) {
    console.error(missing);
    process.exit(1);
  }
  const text = buildPtx(clang);
  if (process.argv[2] !== "--check") writeFileSync(process.argv[2] ?? target, text);
  else if (text !== readFileSync(target, "utf8")) {
    console.error("cuda/kernels.ptx is not what its sources give: run this without --check.");
    process.exit(1);
  }
}
