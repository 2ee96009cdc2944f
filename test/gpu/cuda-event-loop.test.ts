// What takes long on the host leaves the event loop free.
import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { type GpuBackend, GpuExecutor } from "@shardgrad/gpu";
import type { StepPlan } from "@shardgrad/workers";
import { describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import { expectSameBits } from "../support/state.js";
import { stubCuda } from "./stub-cuda.js";

const stub = stubCuda();

/** Turns of the event loop while something is awaited. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let [turns, running] = [0, true];
  const turn = () => {
    turns++;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  running = false;
  return turns;
}

describe.skipIf(typeof stub === "string")(
  `the event loop beside CUDA${typeof stub === "string" ? ` (${stub})` : ""}`,
  () => {
    if (typeof stub === "string") return;

    test("compiling is another thread's work", async () => {
      stub.reset();
      // A compiler that waits for this thread.
      stub.set("compilerWaits", 1);
      const opening = stub.open();
      setTimeout(() => stub.set("compilerWaits", 0), 50);
      await (await opening).close();
      expect(stub.left).toBe(0);
    });

    test("a large gradient is pinned part by part, and not again", async () => {
      stub.reset();
      const backend = await stub.open();
      const gradient = new Uint8Array(new SharedArrayBuffer(20_000_000), 100, 18_000_000);
      stub.takeLog();
      expect(await turnsDuring(() => backend.readyInPlace(gradient))).toBeGreaterThanOrEqual(4);
      const pinned = stub.takeLog().map((line) => Number(line.split(" ")[1]));
      expect(Math.max(...pinned)).toBeLessThanOrEqual(4 << 20);
      expect(pinned.length).toBeLessThanOrEqual(6);
      const buffer = backend.allocate(gradient.byteLength);
      stub.takeLog();
      await backend.readyInPlace(gradient);
      backend.uploadInPlace(buffer, 0, gradient);
      expect(stub.takeLog().filter((line) => line.startsWith("cuMemHostRegister"))).toEqual([]);
      await backend.close();
      expect(stub.left).toBe(0);
    });

    test("a device lost before the launch: the step runs on the CPU", async () => {
      stub.reset();
      process.env.SHARDGRAD_CUDA_LIBRARY = stub.path;
      const runtime = new Runtime({ device: "cuda", threads: 0 });
      const lost: string[] = [];
      runtime.on("deviceLost", ({ reason }) => lost.push(reason));
      runtime.on("deviceChanged", () => {});
      const variables = [1, 2].map(() => Variable.zeros([100_000], { runtime }));
      const optimizer = new Adagrad({ runtime });
      const step = () =>
        optimizer.applyGradients(variables.map((v) => [runtime.allocate(100_000).fill(1), v] as const));
      await step();
      // Pinning the first gradient breaks the context: the second finds it broken.
      stub.fail("cuMemHostRegister_v2", 700, { sticky: true });
      await step();
      expect(lost).toHaveLength(1);
      expect(optimizer.iterations).toBe(2);
      const twin = Variable.zeros([1], { device: "cpu", runtime });
      const other = new Adagrad({ runtime });
      for (let i = 0; i < 2; i++) await other.applyGradients([[[1], twin]]);
      for (const { data } of variables) expect(data.every((value) => value === twin.data[0])).toBe(true);
      await runtime.close();
    });

    test.each(["async", "sync"])(
      "slices beyond one part of the grouping give the bits of the CPU, %s",
      async (mode) => {
        stub.reset();
        process.env.SHARDGRAD_CUDA_LIBRARY = stub.path;
        const [rows, count] = [100_000, 140_000];
        const random = new Random(3);
        // Many slices for a few rows, one or two for most.
        const indices = Int32Array.from({ length: count }, () => random.below(random.below(rows) + 1));
        const values = Float32Array.from(random.values(2 * count));
        const results: Float32Array[] = [];
        for (const device of ["cuda", "cpu"] as const) {
          const runtime = new Runtime({ device, threads: 0 });
          await runtime.ready();
          const table = Variable.ones([rows, 2], { runtime });
          const optimizer = new Adagrad({ runtime });
          const pairs = [[{ indices, values }, table]] as const;
          await optimizer.applyGradients(pairs);
          if (mode === "sync") optimizer.applyGradientsSync(pairs);
          else await optimizer.applyGradients(pairs);
          results.push((await table.read()) as Float32Array);
          await runtime.close();
        }
        expectSameBits(results[0]!, results[1]!, "table");
      },
    );
  },
);

test("many slices are grouped with turns of the event loop, few without", async () => {
  const host = { bytes: () => new Uint8Array(4 * 200_000) };
  const backend = { limits: {}, lost: new Promise(() => {}) } as unknown as GpuBackend;
  const executor = new GpuExecutor(backend, host);
  const stage = (count: number) => {
    const gradient = { kind: "slices", indices: 0, values: 0, count } as const;
    const plan = { updates: [{ segments: [{ memory: 0, gradient }] }] } as unknown as StepPlan;
    return turnsDuring(() => executor.stage(plan));
  };
  expect(await stage(100)).toBe(0);
  // Zeros are in order already: they are looked at, and grouped.
  expect(await stage(200_000)).toBeGreaterThanOrEqual(6);
});
