import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { type GpuKernelName, gpuKernels, hasElements } from "@shardgrad/gpu";
import { describe, expect, test } from "vitest";
import { buildPtx, findClang } from "../../packages/gpu/scripts/build-ptx.mjs";

const path = new URL("../../packages/gpu/cuda/kernels.ptx", import.meta.url);
const ptx = readFileSync(path, "utf8");
const instructions = ptx
  .split("\n")
  .map((line) => line.replace(/^@!?%p\d+ /, ""))
  .filter((line) => /^[a-z]/.test(line));

describe("the PTX text of the package", () => {
  const { clang, missing } = findClang();
  test.skipIf(missing !== undefined)(
    `is what its sources give${missing === undefined ? "" : ` (${missing})`}`,
    () => {
      expect(buildPtx(clang!) === ptx, "run node packages/gpu/scripts/build-ptx.mjs").toBe(true);
    },
  );

  test("is for Turing and drivers of 2019, and has every kernel of the table, those on elements for both dtypes", () => {
    expect(ptx).toContain("\n.version 6.4\n.target sm_75\n.address_size 64\n");
    const entries = [...ptx.matchAll(/\.entry (\w+)\(/g)].map(([, name]) => name).sort();
    const expected = (Object.keys(gpuKernels) as GpuKernelName[]).flatMap((name) =>
      hasElements(name) ? [`${name}F32`, `${name}F64`] : [name],
    );
    expect(entries).toEqual(expected.sort());
  });

  test("rounds after every operation: none may be fused, approximated or flush denormals", () => {
    const floating = instructions.filter((line) =>
      /^(add|sub|mul|div|sqrt|rcp|fma|mad|ex2|rsqrt|tanh)\S*\.f(32|64) /.test(line),
    );
    expect(floating.length).toBeGreaterThan(500);
    expect(floating.filter((line) => !/^(add|sub|mul|div|sqrt|rcp)\.rn\.f(32|64) /.test(line))).toEqual([]);
    expect(instructions.filter((line) => /\.(ftz|approx|full|sat)\b/.test(line))).toEqual([]);
  });

  test("keeps everything in registers", () => {
    expect(ptx).not.toMatch(/\.local|\.func|call/);
  });

  const assembler = spawnSync("ptxas", ["--version"]).status === 0;
  test.skipIf(!assembler).each([75, 90, 120])(
    `assembles for sm_%i${assembler ? "" : " (ptxas is not installed)"}`,
    (architecture) => {
      const args = [`-arch=sm_${architecture}`, path.pathname, "-o", "/dev/null"];
      expect(spawnSync("ptxas", args, { encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
    },
  );
});
