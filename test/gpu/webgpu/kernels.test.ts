import { openWebGpu } from "@shardgrad/gpu";
import { useSoftwareVulkan } from "../../support/software-vulkan.js";
import { describeKernels } from "../describe-kernels.js";

const missing = useSoftwareVulkan();
if (missing !== undefined) throw new Error(missing);

describeKernels("WebGPU kernels on a software driver", async () => {
  const backend = await openWebGpu({ software: true });
  if (typeof backend === "string") throw new Error(backend);
  return backend;
});
