import { describe, test } from "vitest";
import { describeLazyKernels } from "./describe-lazy-kernels.js";
import { stubCuda } from "./stub-cuda.js";

describe.each(["sources", "ptx"] as const)("CUDA kernels of lazy averages, from the %s", (runs) => {
  const stub = stubCuda(runs);
  if (typeof stub === "string") {
    test.skip(`the same bits (${stub})`, () => {});
    return;
  }
  describeLazyKernels(["F32", "F64"], () => {
    stub.reset(5);
    return stub.open();
  });
});
