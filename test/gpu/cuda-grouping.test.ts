import { describe, test } from "vitest";
import { kernelRuns, openerOf } from "./cuda-runs.js";
import { describeGrouping } from "./describe-grouping.js";

describe.each(kernelRuns)("CUDA kernels: %s", (runs) => {
  const open = openerOf(runs);
  if (typeof open === "string") {
    test.skip(`grouping (${open})`, () => {});
    return;
  }
  // Translated PTX takes turns by thread, which is slow.
  const most = runs === "ptx" ? 5000 : undefined;
  describe.each(runs === "the GPU" ? [1] : [1, 2])("seed %i", (seed) => {
    describeGrouping("grouping", () => open(seed), most);
  });
});
