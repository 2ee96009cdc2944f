import { describe, test } from "vitest";
import { describeKernels } from "./describe-kernels.js";
import { stubCuda } from "./stub-cuda.js";

describe.each(["sources", "ptx"] as const)("CUDA kernels from the %s, on the processor", (runs) => {
  const stub = stubCuda(runs);
  if (typeof stub === "string") {
    test.skip(`CUDA kernels (${stub})`, () => {});
    return;
  }
  // The seed decides in which order streams, blocks and threads run.
  describe.each([1, 2, 3])("seed %i", (seed) => {
    describeKernels("CUDA kernels", async () => {
      stub.reset(seed);
      return stub.open();
    });
  });
});
