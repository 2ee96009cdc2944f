import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";

/**
 * The native kernels for vectors of 64 bytes, as AVX-512 has them, on whatever processor this is: the compiler takes the
 * vectors apart. Under sanitizers, and against the baseline kernels, which other tests hold against the reference.
 */

const kernels = fileURLToPath(new URL("../../packages/workers/native/", import.meta.url));
const compare = fileURLToPath(new URL("native/compare.c", import.meta.url));
const compiler = process.env.CC ?? "cc";
const folder = mkdtempSync(join(tmpdir(), "shardgrad-wide-"));
afterAll(() => rmSync(folder, { recursive: true }));

// A negative number that is made a size_t is what `float-cast-overflow` finds; it is not one of `undefined`.
const sanitizers = "address,float-cast-overflow,alignment,shift,bounds,signed-integer-overflow";
const sanitized = [`-fsanitize=${sanitizers}`, "-fno-sanitize-recover=all"];
const exact = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"];

function compile(args: readonly string[]): { readonly status: number | null; readonly stderr: string } {
  const all = ["-std=gnu11", "-Wno-psabi", ...exact, `-I${kernels}`, ...args];
  const { status, stderr } = spawnSync(compiler, all, { cwd: folder, encoding: "utf8" });
  return { status, stderr };
}

function hasSanitizers(): boolean {
  writeFileSync(join(folder, "empty.c"), "int main(void) { return 0; }\n");
  return compile([...sanitized, "empty.c", "-o", "empty"]).status === 0;
}

test.skipIf(process.platform === "win32" || !hasSanitizers())(
  "kernels of 64-byte vectors: no fault, and the bits of the baseline",
  () => {
    const built = [
      compile(["-O1", "-DINSTRUCTIONS=baseline", "-c", join(kernels, "kernels.c"), "-o", "baseline.o"]),
      compile([
        ...sanitized,
        "-DVECTOR_BYTES=64",
        "-DINSTRUCTIONS=wide",
        "-c",
        join(kernels, "kernels.c"),
        "-o",
        "wide.o",
      ]),
      compile([...sanitized, "-O1", compare, "baseline.o", "wide.o", "-o", "compare", "-lm"]),
    ];
    for (const { status, stderr } of built) expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const { status, stdout, stderr } = spawnSync(join(folder, "compare"), { encoding: "utf8" });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "the same bits\n", stderr: "" });
  },
  240_000,
);
