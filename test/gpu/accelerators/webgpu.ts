import { debugLoseWebGpu, openWebGpu } from "@shardgrad/gpu";
import { useSoftwareVulkan } from "../../support/software-vulkan.js";
import type { TestedAccelerator } from "./contract.js";
import { FailingWebGpu } from "./failing-webgpu.js";
import { troubledRuntime } from "./troubled-backend.js";

const missing = useSoftwareVulkan();
if (missing !== undefined) throw new Error(missing);
process.env.SHARDGRAD_SOFTWARE_DEVICE = "1";
const failing = new FailingWebGpu();
const open = () => openWebGpu({ software: true });
// Keeps the device, and what is compiled for it, from one runtime to the next.
await open();

const regular = [
  ...["writeBuffer", "createCommandEncoder", "beginComputePass", "setPipeline", "setBindGroup"],
  ...["dispatchWorkgroups", "end", "finish", "submit", FailingWebGpu.refused],
  ...["copyBufferToBuffer", "mapAsync", "getMappedRange", "unmap"],
];
const rare = [
  ...["createBuffer", "createBindGroup", "onSubmittedWorkDone", "pushErrorScope", "popErrorScope"],
  FailingWebGpu.noRoom,
];

/** WebGPU, on a driver that runs on the processor. */
export const webGpu: TestedAccelerator = {
  kind: "webgpu",
  description: /.*(SwiftShader|llvmpipe).*\(WebGPU\)/,
  cannot: { float64: "webgpu has no float64" },
  exactMeans: true,
  options: { device: "webgpu" },
  troubled: (limits, options) => troubledRuntime("webgpu", open, limits, options),
  absent: {
    "only a software adapter": {
      prepare: () => {
        delete process.env.SHARDGRAD_SOFTWARE_DEVICE;
        return {};
      },
      reason: /^WebGPU: the only adapter is software \(/,
    },
    // Of machines without a loader, an adapter or the package: processes.test.ts and test/package, in processes of their own.
  },
  calls: [...regular.map((name) => ({ name })), ...rare.map((name) => ({ name, rare: true }))],
  comingDown: "mapAsync",
  fail: (call, after) => failing.fail(call, after),
  get failed() {
    return failing.failed;
  },
  failure: /(as the test told|WebGPU: |The device has no room for \d+ bytes)/,
  loseForReal: () => debugLoseWebGpu(),
  reset() {
    failing.reset();
    process.env.SHARDGRAD_SOFTWARE_DEVICE = "1";
  },
  left: () => failing.left,
};
