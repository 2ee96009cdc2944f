import { Runtime } from "@shardgrad/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  deviceName,
  hasNativeKernels,
  keepsDenormals,
  meansInFloat32,
  pooled,
  testedDevice,
  tf,
  threadCounts,
} from "../support/devices.js";
import { Random } from "../support/random.js";
import { expectSameState, type State } from "../support/state.js";
import { Twin } from "../support/twin.js";
import { describeChanges } from "./describe-changes.js";
import { describeDevice } from "./describe-device.js";
import { describeGrowth } from "./describe-growth.js";
import { describeLazy } from "./describe-lazy.js";
import { describeTensors } from "./describe-tensors.js";

// A device of another package joins with two more lines here.
for (const threads of threadCounts) {
  const arithmetic = { keepsDenormals, meansInFloat32 };
  describeDevice(deviceName(threads), (options) => pooled(threads, options), arithmetic);
  describeGrowth(deviceName(threads), (options) => pooled(threads, options), arithmetic);
}

// On more threads the property tests compare them.
for (const threads of [0, 2]) {
  describeLazy(deviceName(threads), (options) => pooled(threads, options), { livesOn });
  // On a device a synchronous step of a new optimizer runs on the CPU, where norms are added in another order.
  describeChanges(deviceName(threads), (options) => pooled(threads, options), {
    meansInFloat32,
    sync: testedDevice === "auto",
  });
}

for (const threads of [0, 2]) {
  const loadTf = async () => tf ?? (await import("../support/tfjs.js")).tfWith("cpu");
  describeTensors(deviceName(threads), (options) => pooled(threads, options), loadTf, { meansInFloat32 });
}

/** Where tables with lazy averages live: tfjs has none, WebGPU only float32. */
function livesOn(dtype: "float32" | "float64" | "float16"): "gpu" | "cpu" | undefined {
  if (testedDevice === "auto") return undefined;
  // On the device of tfjs-backend-webgpu the kernels are WebGPU's.
  const onWebGpu = testedDevice === "webgpu" || process.env.SHARDGRAD_TEST_TF === "webgpu";
  if (onWebGpu) return dtype === "float32" ? "gpu" : "cpu";
  return testedDevice === "cuda" && dtype !== "float16" ? "gpu" : "cpu";
}

describe("all devices", () => {
  const kernelChoices = hasNativeKernels ? (["wasm", "native"] as const) : (["wasm"] as const);
  const devices = kernelChoices.flatMap((kernels) =>
    threadCounts.map((threads) => ({
      name: `${deviceName(threads)}, ${kernels}`,
      runtime: pooled(threads, { kernels }),
    })),
  );
  const runtimes = devices.map(({ runtime }) => runtime);
  beforeAll(() => Promise.all(runtimes.map((runtime) => runtime.ready())));
  afterAll(() => Promise.all(runtimes.map((runtime) => runtime.close())));

  test.each([{ clipnorm: 0.5 }, { globalClipnorm: 0.5 }, { clipvalue: 0.5 }])(
    "agree in every bit with %o",
    async (clip) => {
      const states: State[] = [];
      for (const runtime of runtimes) {
        const random = new Random(1);
        const twin = new Twin(runtime, {
          learningRate: 0.1,
          useEma: true,
          emaOverwriteFrequency: 2,
          ...clip,
        });
        twin.add([100_003], random.values(100_003));
        twin.add([700, 33], random.values(700 * 33));
        twin.add([5], random.values(5));
        for (let s = 0; s < 2; s++) {
          const indices = random.indices(900, 700, false);
          await twin.step([
            { dense: random.values(100_003) },
            { indices, values: random.values(900 * 33) },
            { dense: random.values(5) },
          ]);
        }
        states.push(twin.state());
      }
      for (const [i, state] of states.entries()) expectSameState(state, states[0]!, devices[i]!.name);
    },
  );
});

test("small steps run inline, large ones on the threads", async () => {
  const runtime = new Runtime({ threads: 2, inlineThreshold: 1000 });
  const devices: string[] = [];
  for (const size of [999, 1000]) {
    const twin = new Twin(runtime);
    twin.add([size], new Float32Array(size));
    twin.optimizer.on("iteration", ({ device }) => devices.push(device));
    await twin.step([{ dense: new Float32Array(size) }]);
  }
  expect(devices).toEqual(["inline", "workers"]);
  await runtime.close();
});
