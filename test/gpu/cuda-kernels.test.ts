import { describe, test } from "vitest";
import { kernelRuns, openerOf } from "./cuda-runs.js";
import { describeKernels } from "./describe-kernels.js";

describe.each(kernelRuns)("CUDA kernels: %s", (runs) => {
  const open = openerOf(runs);
  if (typeof open === "string") {
    test.skip(`CUDA kernels (${open})`, () => {});
    return;
  }
  describe.each(runs === "the GPU" ? [1] : [1, 2, 3])("seed %i", (seed) => {
    describeKernels("CUDA kernels", () => open(seed));
  });
});
