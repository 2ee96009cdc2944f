import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { defineConfig } from "vitest/config";
import { stubCudaMissing } from "./test/gpu/stub-cuda-missing.js";
import { softwareVulkanMissing } from "./test/support/software-vulkan.js";
import { hasTfjsNode } from "./test/support/tfjs-node.js";

/** One project for each promise; `npx vitest run --project golden` runs one of them. */
function project(name: string, include: string[], timeout: number, env: Record<string, string> = {}) {
  return {
    extends: true as const,
    test: { name, include, env, testTimeout: timeout, hookTimeout: timeout },
  };
}

const library = `./packages/workers/dist/native/${process.platform}-${process.arch}.node`;
const hasNative = existsSync(new URL(library, import.meta.url));
if (!hasNative) console.log("The native kernels were not built (no C compiler): their tests are left out.");

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

const withoutVulkan = softwareVulkanMissing();
if (withoutVulkan !== undefined) console.log(`The tests on WebGPU are left out: ${withoutVulkan}.`);

/** The same tests with what can go there on WebGPU, on a software driver. */
function onWebGpu(name: string, include: string[]) {
  const env = { SHARDGRAD_TEST_DEVICE: "webgpu" };
  return withoutVulkan === undefined ? [project(`${name}-webgpu`, include, 60 * seconds, env)] : [];
}

if (!hasTfjsNode) {
  console.log("The tests on tfjs-node are left out: `node scripts/build-tfjs-node.mjs` builds it.");
}
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

const withoutStub = stubCudaMissing();
if (withoutStub !== undefined) console.log(`The tests on CUDA are left out: ${withoutStub}.`);

/** The same tests on the CUDA back end, over a stand-in for the driver that runs the kernels on the processor. */
function onCuda(name: string, include: string[]) {
  const env = { SHARDGRAD_TEST_DEVICE: "cuda" };
  return withoutStub === undefined ? [project(`${name}-cuda`, include, 60 * seconds, env)] : [];
}

export default defineConfig({
  test: {
    pool: "forks",
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
      project("gpu", ["test/gpu/**/*.test.ts"], 60 * seconds),
      ...onWebGpu("contract", ["test/contract/devices.test.ts"]),
      ...onWebGpu("golden", ["test/golden/trajectories.test.ts"]),
      ...onTfjs("contract", ["test/contract/devices.test.ts"]),
      // The kernels are those of golden-webgpu.
      ...onTfjs("contract", ["test/contract/devices.test.ts"], withoutVulkan === undefined ? ["webgpu"] : []),
      ...onTfjs("golden", ["test/golden/trajectories.test.ts"]),
      ...onCuda("contract", ["test/contract/devices.test.ts"]),
      ...onCuda("golden", ["test/golden/trajectories.test.ts"]),
      ...onCuda("gpu", ["test/gpu/random-steps.test.ts"]),
      project("examples", ["test/examples/**/*.test.ts"], 120 * seconds),
      project("types", ["test/types/**/*.test.ts"], 120 * seconds),
      project("package", ["test/package/**/*.test.ts"], 180 * seconds),
    ],
  },
});
