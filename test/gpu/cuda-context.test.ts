import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { CudaBackend } from "../../packages/gpu/dist/cuda/backend.js";
import { usableDevices } from "../../packages/gpu/dist/cuda/device.js";
import { CudaDriver } from "../../packages/gpu/dist/cuda/driver.js";
import { CudaResources } from "../../packages/gpu/dist/cuda/resources.js";
import { stubCuda } from "./stub-cuda.js";

const stub = stubCuda();

// Between the two a turn passes, in which another back end may close and leave the thread without a context.
test.skipIf(typeof stub === "string")(
  "a back end is made in its own context, whatever has become the current one",
  async () => {
    if (typeof stub === "string") return;
    stub.reset();
    const driver = new CudaDriver(createRequire(import.meta.url)("koffi"), stub.path);
    const [device] = (await usableDevices(driver, undefined)) as Exclude<
      Awaited<ReturnType<typeof usableDevices>>,
      string
    >;
    const resources = await CudaResources.open(driver, device!);
    driver.call("cuCtxSetCurrent", 0);
    const backend = new CudaBackend(resources);
    await backend.loadKernels();
    await backend.close();
    expect([stub.left, stub.current]).toEqual([0, 0]);
  },
);
