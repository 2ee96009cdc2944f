// Training goes on with nothing lost, whichever call of the driver fails in its midst.
import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import { Twin } from "../support/twin.js";
import { stubCuda } from "./stub-cuda.js";

const stub = stubCuda();

const calls = [
  "cuMemAlloc_v2",
  "cuMemsetD8Async",
  "cuMemcpyHtoDAsync_v2",
  "cuMemcpyDtoHAsync_v2",
  "cuStreamWaitEvent",
  "cuEventRecord",
  "cuEventQuery",
  "cuLaunchKernel",
  "execution",
];

describe.skipIf(typeof stub === "string")(
  `a CUDA device that is lost${typeof stub === "string" ? ` (${stub})` : ""}`,
  () => {
    if (typeof stub === "string") return;
    const cuda = stub;

    /** Eight steps, dense and sparse; after three of them the stub is told to fail, and synchronous ones begin. */
    async function train(arrange: () => void, mode: "async" | "sync") {
      cuda.reset(3);
      process.env.SHARDGRAD_CUDA_LIBRARY = cuda.path;
      const runtime = new Runtime({ threads: 0, device: "cuda" });
      const events: string[] = [];
      runtime.on("deviceLost", ({ reason }) => events.push(reason));
      runtime.on("deviceChanged", ({ from, to }) => events.push(`${from} to ${to}`));
      await runtime.ready();
      const twin = new Twin(runtime, { learningRate: 0.1, globalClipnorm: 1, useEma: true });
      const random = new Random(5);
      twin.add([300], random.values(300));
      twin.add([50, 8], random.values(400));
      for (let step = 0; step < 8; step++) {
        if (step === 3) arrange();
        const indices = Array.from({ length: 20 }, () => random.below(50));
        await twin.step([{ dense: random.values(300) }, { indices, values: random.values(160) }], {
          mode: step < 3 ? "async" : mode,
        });
      }
      twin.expectClose({ rtol: 2e-6, atol: 1e-7 });
      expect(twin.optimizer.iterations).toBe(8);
      const { device } = runtime.placement();
      await runtime.close();
      return { events, device };
    }

    test("nothing fails: the device stays", async () => {
      const { events, device } = await train(() => {}, "async");
      expect(events).toEqual(["cpu to cuda"]);
      expect(device?.kind).toBe("cuda");
    });

    test("no room for what a step needs: the device stays, the variables that do not fit are the CPU's", async () => {
      const { events, device } = await train(() => cuda.set("totalBytes", 1), "async");
      expect(events).toEqual(["cpu to cuda"]);
      expect(device?.kind).toBe("cuda");
    });

    test.each(calls.flatMap((call) => [0, 1, 2, 4].map((after) => ({ call, after }))))(
      "$call fails after $after more: the CPU goes on from there",
      async ({ call, after }) => {
        for (const mode of ["async", "sync"] as const) {
          const { events, device } = await train(() => cuda.fail(call, 719, { after, sticky: true }), mode);
          // Memory is taken and zeroed in the first steps only.
          if (call.startsWith("cuMem") && !call.startsWith("cuMemcpy")) continue;
          expect(events).toEqual([
            "cpu to cuda",
            expect.stringContaining("CUDA_ERROR_LAUNCH_FAILED (719)"),
            "cuda to cpu",
          ]);
          expect(device).toBe(null);
        }
      },
    );

    test("a hybrid step with a global norm waits for the device, and learns of its loss", async () => {
      cuda.reset();
      process.env.SHARDGRAD_CUDA_LIBRARY = cuda.path;
      const runtime = new Runtime({ threads: 0, device: "cuda" });
      const reasons: string[] = [];
      runtime.on("deviceLost", ({ reason }) => reasons.push(reason));
      runtime.on("deviceChanged", () => {});
      const variables = (["gpu", "cpu"] as const).map((device) => Variable.zeros([100], { runtime, device }));
      const optimizer = new Adagrad({ runtime, globalClipnorm: 1 });
      const gradient = new Float32Array(100).fill(1);
      const step = () => optimizer.applyGradients(variables.map((variable) => [gradient, variable] as const));
      await step();
      cuda.fail("execution", 719);
      await step();
      expect(reasons).toEqual([expect.stringContaining("CUDA_ERROR_LAUNCH_FAILED (719)")]);
      await step();
      expect(variables[0]!.toArray()).toEqual(variables[1]!.toArray());
      await runtime.close();
    });
  },
);
