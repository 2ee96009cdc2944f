import { openCuda } from "@shardgrad/gpu";
import { stubCuda } from "../stub-cuda.js";
import type { TestedAccelerator } from "./contract.js";
import { troubledRuntime } from "./troubled-backend.js";

const built = stubCuda();
if (typeof built === "string") throw new Error(built);
const stub = built;
process.env.SHARDGRAD_CUDA_LIBRARY = stub.path;

/** CUDA_ERROR_LAUNCH_FAILED: like most errors, it stays with the process. */
const LAUNCH_FAILED = 719;
const OUT_OF_MEMORY = 2;
/** A buffer for which the driver has no room. */
const NO_ROOM = "no room";

/** CUDA, over the stand-in for the driver's library. */
export const cuda: TestedAccelerator = {
  kind: "cuda",
  description: /Stub GPU 0 \(CUDA 12\.4\)/,
  cannot: {},
  exactMeans: true,
  options: { device: "cuda" },
  troubled: (limits, options) => troubledRuntime("cuda", openCuda, limits, options),
  absent: {
    "no driver": withLibrary("/no/such/libcuda.so.1", /^CUDA: no NVIDIA driver: /),
    "a library that is not the driver's": withLibrary("libc.so.6", /^CUDA: no NVIDIA driver: .*cuInit/),
    "no device": {
      prepare: () => {
        stub.set("devices", 0);
        return {};
      },
      reason: /^CUDA: no NVIDIA GPU is visible to this process$/,
    },
    "a device without memory for the kernels": {
      prepare: () => {
        stub.fail("cuModuleLoadDataEx", 2);
        return {};
      },
      reason: /^CUDA: the device could not be opened: cuModuleLoadDataEx: CUDA_ERROR_OUT_OF_MEMORY \(2\)/,
    },
  },
  calls: [
    { name: "cuMemcpyHtoDAsync_v2" },
    { name: "cuMemcpyDtoHAsync_v2" },
    { name: "cuStreamWaitEvent" },
    { name: "cuEventRecord" },
    { name: "cuEventQuery" },
    { name: "cuLaunchKernel" },
    // A launch that was accepted fails when it runs.
    { name: "execution" },
    { name: "cuMemAlloc_v2", rare: true },
    { name: "cuMemsetD8Async", rare: true },
    { name: "cuMemHostRegister_v2", rare: true },
    { name: "cuEventCreate", rare: true },
    { name: NO_ROOM, rare: true },
  ],
  comingDown: "cuMemcpyDtoHAsync_v2",
  fail(call, after) {
    if (call === NO_ROOM) stub.fail("cuMemAlloc_v2", OUT_OF_MEMORY, { after });
    else stub.fail(call, LAUNCH_FAILED, { after, sticky: true });
  },
  get failed() {
    return stub.failures > 0;
  },
  failure: /(CUDA_ERROR_LAUNCH_FAILED \(719\): as the test told|The device has no room for \d+ bytes)/,
  loseForReal: () => stub.fail("execution", LAUNCH_FAILED),
  reset() {
    stub.reset();
    process.env.SHARDGRAD_CUDA_LIBRARY = stub.path;
  },
  left: () => stub.left,
};

function withLibrary(path: string, reason: RegExp) {
  const prepare = () => {
    process.env.SHARDGRAD_CUDA_LIBRARY = path;
    return {};
  };
  return { prepare, reason };
}
