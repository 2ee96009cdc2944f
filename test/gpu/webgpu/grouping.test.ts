import { openWebGpu } from "@shardgrad/gpu";
import { useSoftwareVulkan } from "../../support/software-vulkan.js";
import { describeGrouping } from "../describe-grouping.js";

const missing = useSoftwareVulkan();
if (missing !== undefined) throw new Error(missing);

describeGrouping(
  "Grouping on WebGPU",
  async () => {
    const backend = await openWebGpu({ software: true });
    if (typeof backend === "string") throw new Error(backend);
    return backend;
  },
  100_000,
);
