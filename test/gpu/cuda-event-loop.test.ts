// What takes long on the host leaves the event loop free.
import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { TILE } from "@shardgrad/gpu";
import { describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import { expectSameBits } from "../support/state.js";
import { turnsDuring } from "../support/turns.js";
import { DeviceArrays } from "./device-arrays.js";
import { stubCuda } from "./stub-cuda.js";

const stub = stubCuda();

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

    test("a large download comes part by part through a few pinned blocks", async () => {
      stub.reset(3);
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const n = 5_000_001;
      const values = Float32Array.from({ length: n }, (_, i) => i % 1009);
      const [buffer, other] = [arrays.elements(values), arrays.room(4 * n)];
      await backend.finished();
      stub.takeLog();
      const reading = arrays.read(buffer, n);
      // A launch that writes the buffer in the middle of it: what is left is asked for before.
      const copied = { source: other, target: buffer };
      const launching = new Promise((resolve) => setTimeout(resolve, 2)).then(() =>
        arrays.launch("copy", copied, { sourceOffset: 0, targetOffset: 0, elements: n }, Math.ceil(n / TILE)),
      );
      expect(await turnsDuring(() => reading)).toBeGreaterThanOrEqual(8);
      await launching;
      expectSameBits(await reading, values, "as it was");
      const log = stub.takeLog();
      const registered = log.filter((line) => line.startsWith("cuMemHostRegister"));
      expect(registered.length).toBeLessThanOrEqual(8);
      expect(new Set(registered)).toEqual(new Set(["cuMemHostRegister_v2 1048576"]));
      expect(log.some((line) => line.startsWith("cuMemHostUnregister"))).toBe(false);
      expectSameBits(await arrays.read(buffer, n), new Float32Array(n), "afterwards");
      // The buffer goes in the middle of it.
      const last = arrays.read(buffer, n);
      backend.free(buffer.buffer);
      await backend.finished();
      expectSameBits(await last, new Float32Array(n), "a buffer that went");
      await backend.close();
      expect(stub.left).toBe(0);
    });

    test("large downloads of a device that is lost, or closed, end", async () => {
      for (const after of [0, 5, 9, 12]) {
        stub.reset();
        const backend = await stub.open();
        const arrays = new DeviceArrays(backend);
        const buffers = [1, 2].map(() => arrays.room(20_000_000));
        await backend.finished();
        stub.fail("cuMemcpyDtoHAsync_v2", 700, { after, sticky: true });
        const reads = await Promise.allSettled(buffers.map((buffer) => arrays.read(buffer, 5_000_000)));
        expect(reads.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
        await backend.close();
      }
      stub.reset();
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const buffer = arrays.elements(new Float32Array(5_000_000).fill(2));
      const reading = arrays.read(buffer, 5_000_000);
      await backend.close();
      expect((await reading).every((value) => value === 2)).toBe(true);
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
