import { openWebGpu } from "@shardgrad/gpu";
import { useSoftwareVulkan } from "../../support/software-vulkan.js";
import { describeLazyKernels } from "../describe-lazy-kernels.js";

const missing = useSoftwareVulkan();
if (missing !== undefined) throw new Error(missing);

describeLazyKernels(["F32"], async () => {
  const backend = await openWebGpu({ software: true });
  if (typeof backend === "string") throw new Error(backend);
  return backend;
});
