import { defineConfig } from "vitest/config";

/** One project for each promise; `npx vitest run --project golden` runs one of them. */
function project(name: string, include: string[], timeout: number) {
  return {
    extends: true as const,
    test: { name, include, testTimeout: timeout, hookTimeout: timeout },
  };
}

const seconds = 1000;

export default defineConfig({
  test: {
    pool: "forks",
    reporters: ["default", "./test/support/summary-reporter.mjs"],
    server: { deps: { external: [/\/packages\/[^/]+\/dist\//] } },
    projects: [
      project("unit", ["test/unit/**/*.test.ts"], 20 * seconds),
      project("golden", ["test/golden/**/*.test.ts"], 30 * seconds),
      project("contract", ["test/contract/**/*.test.ts"], 30 * seconds),
      project("property", ["test/property/**/*.test.ts"], 90 * seconds),
      project("faults", ["test/faults/**/*.test.ts"], 60 * seconds),
      project("kernels", ["test/kernels/**/*.test.ts"], 60 * seconds),
      project("examples", ["test/examples/**/*.test.ts"], 120 * seconds),
      project("types", ["test/types/**/*.test.ts"], 120 * seconds),
      project("package", ["test/package/**/*.test.ts"], 180 * seconds),
    ],
  },
});
