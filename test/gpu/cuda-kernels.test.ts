import { describe, test } from "vitest";
import { describeKernels } from "./describe-kernels.js";
import { stubCuda } from "./stub-cuda.js";

const stub = stubCuda();
if (typeof stub === "string") {
  test.skip(`CUDA kernels on the processor (${stub})`, () => {});
} else {
  // The seed decides in which order streams, blocks and threads run.
  describe.each([1, 2, 3])("seed %i", (seed) => {
    describeKernels("CUDA kernels on the processor", async () => {
      stub.reset(seed);
      return stub.open();
    });
  });
}
