import { openWebGpu } from "@shardgrad/gpu";
import { test } from "vitest";
import { useSoftwareVulkan } from "../support/software-vulkan.js";
import { describeKernels } from "./describe-kernels.js";

const missing = useSoftwareVulkan();
if (missing === undefined) {
  describeKernels("WebGPU kernels on a software driver", async () => {
    const backend = await openWebGpu({ software: true });
    if (typeof backend === "string") throw new Error(backend);
    return backend;
  });
} else {
  test.skip(`WebGPU kernels (${missing})`, () => {});
}
