import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { onRealDriver, stubCudaMissing } from "./test/gpu/stub-cuda-missing.js";
import { lavapipeMissing, softwareVulkanMissing } from "./test/support/software-vulkan.js";
import { hasTfjsNode } from "./test/support/tfjs-node.js";

/** One project for each promise; `npx vitest run --project golden` runs one of them. */
function project(name: string, include: string[], timeout: number, env: Record<string, string> = {}) {
  return {
    extends: true as const,
    test: { name, include, env, testTimeout: timeout, hookTimeout: timeout },
  };
}

/** Says once what is left out: this file is evaluated for each project again. */
function leaveOut(what: string, why: string | undefined): boolean {
  const told = `SHARDGRAD_LEFT_OUT_${what.replace(/\W/g, "_")}`;
  if (why !== undefined && process.env[told] === undefined) {
    process.env[told] = "1";
    console.log(`${what} left out: ${why}.`);
  }
  return why !== undefined;
}

const library = `./packages/workers/dist/native/${process.platform}-${process.arch}.node`;
const hasNative = existsSync(new URL(library, import.meta.url));
leaveOut("The tests of native kernels are", hasNative ? undefined : "they were not built (no C compiler)");

/** The instruction sets of the native kernels that this processor can run. */
const instructionSets: string[] = hasNative
  ? createRequire(import.meta.url)(library).sets.map((set: { instructions: string }) => set.instructions)
  : [];

/** The same tests for the WebAssembly and for the native kernels. */
function bothKernels(name: string, include: string[], timeout: number) {
  const wasm = project(name, include, timeout, { SHARDGRAD_TEST_KERNELS: "wasm" });
  const native = project(`${name}-native`, include, timeout, { SHARDGRAD_TEST_KERNELS: "native" });
  return hasNative ? [wasm, native] : [wasm];
}

const seconds = 1000;

const withoutSwiftShader = leaveOut("The tests on WebGPU are", softwareVulkanMissing());
const withoutLavapipe = leaveOut("The tests on lavapipe are", lavapipeMissing());

/** The same tests with what can go there on WebGPU, on the software drivers that are here. */
function onWebGpu(name: string, include: string[]) {
  const on = (driver: string, device: string) =>
    project(`${name}-${device}`, include, 60 * seconds, {
      SHARDGRAD_TEST_DEVICE: "webgpu",
      SHARDGRAD_TEST_VULKAN: driver,
    });
  return [
    ...(withoutSwiftShader ? [] : [on("swiftshader", "webgpu")]),
    ...(withoutLavapipe ? [] : [on("lavapipe", "lavapipe")]),
  ];
}

leaveOut(
  "The tests on tfjs-node are",
  hasTfjsNode ? undefined : "`node scripts/build-tfjs-node.mjs` builds it",
);
const tfBackends = hasTfjsNode ? ["cpu", "wasm", "tensorflow"] : ["cpu", "wasm"];

/** The same tests with back ends of tfjs. */
function onTfjs(name: string, include: string[], backends = tfBackends) {
  return backends.map((backend) =>
    project(`${name}-tfjs-${backend}`, include, 60 * seconds, {
      SHARDGRAD_TEST_DEVICE: "tfjs",
      SHARDGRAD_TEST_TF: backend,
    }),
  );
}

const withoutStub = onRealDriver ? undefined : leaveOut("The tests on CUDA are", stubCudaMissing());

/**
 * The same tests on the CUDA back end, over a stand-in for the driver that runs the kernels on the processor; or on the
 * machine's GPU, where that is asked for, but for those that have calls of the driver fail.
 */
function onCuda(name: string, include: string[]) {
  const env = { SHARDGRAD_TEST_DEVICE: "cuda" };
  if (onRealDriver) return name === "gpu" ? [] : [project(`${name}-cuda`, include, 120 * seconds, env)];
  return withoutStub ? [] : [project(`${name}-cuda`, include, 60 * seconds, env)];
}

export default defineConfig({
  test: {
    pool: "forks",
    // Two files at a time also on two processors, where the default is one: most tests compute on one.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    reporters: ["default", "./test/support/summary-reporter.mjs"],
    server: { deps: { external: [/\/packages\/[^/]+\/dist\//] } },
    projects: [
      project("unit", ["test/unit/**/*.test.ts"], 20 * seconds),
      ...bothKernels("golden", ["test/golden/**/*.test.ts"], 30 * seconds),
      ...bothKernels("contract", ["test/contract/**/*.test.ts"], 30 * seconds),
      ...bothKernels("property", ["test/property/**/*.test.ts"], 90 * seconds),
      project("faults", ["test/faults/**/*.test.ts"], 60 * seconds),
      ...["wasm", ...instructionSets].map((kernels) =>
        project(`kernels-${kernels}`, ["test/kernels/**/*.test.ts"], 60 * seconds, {
          SHARDGRAD_TEST_KERNELS: kernels,
        }),
      ),
      project("gpu", ["test/gpu/*.test.ts"], 60 * seconds),
      ...onWebGpu("contract", ["test/contract/devices.test.ts"]),
      ...onWebGpu("golden", ["test/golden/trajectories.test.ts"]),
      ...onTfjs("contract", ["test/contract/devices.test.ts"]),
      // The kernels are those of golden-webgpu.
      ...onTfjs("contract", ["test/contract/devices.test.ts"], withoutSwiftShader ? [] : ["webgpu"]),
      ...onTfjs("golden", ["test/golden/trajectories.test.ts"]),
      // On a GPU; the project gpu has them on stand-ins.
      ...(onRealDriver
        ? onCuda("kernels", ["test/gpu/cuda-{cpu-,}kernels.test.ts", "test/gpu/cuda-grouping.test.ts"])
        : []),
      ...onCuda("contract", ["test/contract/devices.test.ts"]),
      ...onCuda("golden", ["test/golden/trajectories.test.ts"]),
      ...onWebGpu("gpu", ["test/gpu/shared/*.test.ts", "test/gpu/webgpu/*.test.ts"]),
      ...onCuda("gpu", ["test/gpu/shared/*.test.ts"]),
      ...onTfjs("gpu", ["test/gpu/shared/*.test.ts"], ["cpu"]),
      project("examples", ["test/examples/**/*.test.ts"], 120 * seconds),
      project("types", ["test/types/**/*.test.ts"], 120 * seconds),
      project("package", ["test/package/**/*.test.ts"], 180 * seconds),
    ],
  },
});
