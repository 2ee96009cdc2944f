// What is called is ordered, though uploads, launches and downloads run on streams of their own: the stub runs streams
// in any order that their events allow, as late as it can.
import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { seeded } from "../kernels/data.js";
import { DeviceArrays } from "./device-arrays.js";
import { stubCuda } from "./stub-cuda.js";

const stub = stubCuda();
const { Memory } = (globalThis as unknown as { WebAssembly: WebAssemblyNamespace }).WebAssembly;

/** What is used of WebAssembly, whose types come with those of browsers only. */
interface WebAssemblyNamespace {
  readonly Memory: new (options: {
    readonly initial: number;
    readonly maximum: number;
    readonly shared: boolean;
  }) => { readonly buffer: SharedArrayBuffer; grow(pages: number): number };
}

describe.skipIf(typeof stub === "string")(
  `order and memory of the CUDA back end${typeof stub === "string" ? ` (${stub})` : ""}`,
  () => {
    if (typeof stub === "string") return;
    const copy = (
      arrays: DeviceArrays,
      source: ReturnType<DeviceArrays["room"]>,
      target: typeof source,
      n: number,
    ) => arrays.launch("copy", { source, target }, { sourceOffset: 0, targetOffset: 0, elements: n }, 1);

    test.each([1, 2, 3, 4, 5, 6])(
      "any mix of calls gives what it would one after another, seed %i",
      async (seed) => {
        stub.reset(seed);
        const backend = await stub.open();
        const arrays = new DeviceArrays(backend);
        const random = seeded(seed);
        const pick = (n: number) => Math.floor(random() * n);
        const n = 64;
        const model = Array.from({ length: 5 }, () => new Float32Array(n));
        const buffers = model.map(() => arrays.room(4 * n));
        const inPlace = Array.from({ length: 4 }, () => new Float32Array(new SharedArrayBuffer(4 * n)));
        let free = [...inPlace];
        const downloads: Promise<void>[] = [];
        for (let i = 0; i < 400; i++) {
          const [a, b] = [pick(5), pick(5)];
          const kind = pick(10);
          if (kind < 3) {
            const values = Float32Array.from({ length: n }, random);
            backend.upload(buffers[a]!.buffer, 0, values);
            model[a]!.set(values);
            values.fill(-1); // A copy was taken.
          } else if (kind === 3 && free.length > 0) {
            const values = free.pop()!;
            values.set(Float32Array.from({ length: n }, random));
            backend.uploadInPlace(buffers[a]!.buffer, 0, values);
            model[a]!.set(values);
          } else if (kind < 8 && a !== b) {
            copy(arrays, buffers[a]!, buffers[b]!, n);
            model[b]!.set(model[a]!);
          } else if (kind === 8) {
            const expected = model[a]!.slice();
            downloads.push(arrays.read(buffers[a]!, n).then((read) => expect(read).toEqual(expected)));
          } else if (kind === 9 && pick(4) === 0) {
            await backend.finished();
            free = [...inPlace];
          }
        }
        await Promise.all(downloads);
        for (const [i, buffer] of buffers.entries()) expect(await arrays.read(buffer, n)).toEqual(model[i]);
        await backend.close();
        expect(stub.left).toBe(0);
      },
    );

    test.each([1, 2, 3])("uploads larger than all staging, and large downloads, seed %i", async (seed) => {
      stub.reset(seed);
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const n = 6 << 20; // 24 MiB
      const values = Float32Array.from({ length: n }, (_, i) => i % 1009);
      const negated = values.map((value) => -value);
      const [first, second] = [arrays.elements(values), arrays.elements(negated)];
      const same = (read: Float32Array, expected: Float32Array) =>
        Buffer.compare(Buffer.from(read.buffer), Buffer.from(expected.buffer)) === 0;
      expect(same(await arrays.read(first, n), values)).toBe(true);
      expect(same(await arrays.read(second, n), negated)).toBe(true);
      await backend.close();
      expect(stub.left).toBe(0);
    });

    test.each([1, 2, 3])(
      "downloads at the same time into one memory, anyhow aligned, seed %i",
      async (seed) => {
        stub.reset(seed);
        const backend = await stub.open();
        const arrays = new DeviceArrays(backend);
        const n = 100_001; // Its 400,004 bytes end in mid-page.
        const buffers = Array.from({ length: 5 }, (_, i) => arrays.elements(new Float32Array(n).fill(i + 1)));
        const memory = new Float32Array(5 * n);
        const into = (i: number) => memory.subarray(i * n, (i + 1) * n);
        const arriving = buffers.map(({ buffer }, i) => backend.download(buffer, 0, into(i)));
        // The same memory twice: the one that comes last is there at the end.
        arriving.push(backend.download(buffers[4]!.buffer, 0, into(0)));
        await Promise.all(arriving);
        for (const i of [1, 2, 3, 4]) expect(into(i).every((value) => value === i + 1)).toBe(true);
        expect(into(0).every((value) => value === 5)).toBe(true);
        await backend.close();
        expect(stub.left).toBe(0);
      },
    );

    test("many small downloads at a time share pinned memory, and one thread waits for all", async () => {
      stub.reset();
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const buffers = Array.from({ length: 600 }, (_, i) => arrays.elements([i, i + 1]));
      await backend.finished();
      stub.takeLog();
      stub.set("notReady", 1_000_000);
      stub.set("waitsMs", 30);
      const read = await Promise.all(buffers.map((buffer) => arrays.read(buffer, 2)));
      expect(read.map(([first]) => first)).toEqual([...buffers.keys()]);
      const log = stub.takeLog();
      expect(log.filter((line) => line.startsWith("cuMemHostRegister"))).toEqual([
        "cuMemHostRegister_v2 1048576",
      ]);
      expect(log.filter((line) => line === "cuEventSynchronize").length).toBeLessThan(10);
      await backend.close();
      expect(stub.left).toBe(0);
    });

    test("many small uploads share staging that is used again and again", async () => {
      stub.reset(7);
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const [buffer, sum] = [arrays.room(4 * 50_000), arrays.room(4 * 50_000)];
      for (let i = 0; i < 120; i++) {
        backend.upload(buffer.buffer, 0, new Float32Array(50_000).fill(i));
        arrays.launch(
          "copy",
          { source: buffer, target: sum },
          { sourceOffset: i, targetOffset: i, elements: 1 },
          1,
        );
      }
      expect([...(await arrays.read(sum, 120))]).toEqual([...Array(120).keys()]);
      await backend.close();
    });

    test("an upload waits for the launches that use its buffer, and for no others", async () => {
      stub.reset();
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const [a, b, other] = [arrays.elements([1]), arrays.room(4), arrays.room(4)];
      copy(arrays, a, b, 1);
      stub.takeLog();
      backend.upload(other.buffer, 0, Float32Array.of(2));
      expect(stub.takeLog()).toEqual(["cuMemcpyHtoDAsync_v2 4 stream own"]);
      backend.upload(a.buffer, 0, Float32Array.of(2));
      expect(stub.takeLog()).toEqual(["cuStreamWaitEvent", "cuMemcpyHtoDAsync_v2 4 stream own"]);
      backend.upload(b.buffer, 0, Float32Array.of(3));
      expect(stub.takeLog()).toEqual(["cuMemcpyHtoDAsync_v2 4 stream own"]);
      copy(arrays, a, b, 1);
      expect(stub.takeLog()).toEqual([
        "cuEventRecord",
        "cuStreamWaitEvent",
        "cuLaunchKernel copyF32 1 256",
        "cuEventRecord",
      ]);
      await backend.close();
    });

    test("a step's calls: nothing but copies, one join and the launches", async () => {
      stub.reset();
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const [source, target] = [arrays.elements([5]), arrays.room(4)];
      await backend.finished();
      stub.takeLog();
      const command = {
        kernel: "copy",
        dtype: "float32",
        buffers: [source, target],
        scalars: [0, 0, 1],
        count: 1,
      } as const;
      backend.launch([command, { ...command, count: 0 }, command]);
      await backend.finished();
      expect(stub.takeLog()).toEqual([
        "cuLaunchKernel copyF32 1 256",
        "cuLaunchKernel copyF32 1 256",
        "cuEventRecord",
        "cuEventRecord",
        "cuEventQuery",
      ]);
      await backend.close();
    });

    test("gradients in shared memory are read in place, pinned once", async () => {
      stub.reset();
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const memory = new Memory({ initial: 4, maximum: 64, shared: true });
      const gradient = (from: number, count: number) =>
        new Float32Array(memory.buffer, from, count).fill(from);
      const buffer = arrays.room(200_000);
      stub.takeLog();
      backend.uploadInPlace(buffer.buffer, 0, gradient(100, 1000));
      // Its pages, from the first byte's to the last byte's.
      expect(stub.takeLog()).toEqual(["cuMemHostRegister_v2 8192", "cuMemcpyHtoDAsync_v2 4000 stream own"]);
      backend.uploadInPlace(buffer.buffer, 0, gradient(200, 500));
      expect(stub.takeLog()).toEqual(["cuMemcpyHtoDAsync_v2 2000 stream own"]);
      // Reaches beyond what is pinned: the rest is pinned, and no copy crosses between the two.
      memory.grow(4);
      backend.uploadInPlace(buffer.buffer, 0, gradient(0, 50_000));
      expect(stub.takeLog()).toEqual([
        "cuMemHostRegister_v2 192512",
        "cuMemcpyHtoDAsync_v2 8192 stream own",
        "cuMemcpyHtoDAsync_v2 191808 stream own",
      ]);
      expect(await arrays.read(buffer, 50_000)).toEqual(new Float32Array(50_000));
      await backend.close();
      expect(stub.left).toBe(0);
    });

    test("an awaited step reads gradients in place, a synchronous one copies them", async () => {
      stub.reset();
      process.env.SHARDGRAD_CUDA_LIBRARY = stub.path;
      const runtime = new Runtime({ device: "cuda", threads: 0 });
      const variable = Variable.zeros([50_000], { runtime });
      const optimizer = new Adagrad({ runtime });
      const gradient = runtime.allocate(50_000).fill(1);
      const pinnedBytes = () =>
        stub
          .takeLog()
          .flatMap((line) => (line.startsWith("cuMemHostRegister") ? [Number(line.split(" ")[1])] : []));
      await optimizer.applyGradients([[gradient, variable]]);
      await optimizer.applyGradients([[gradient, variable]]);
      // A block of staging, and the gradient's pages once, in two parts at most.
      const [staging, ...parts] = pinnedBytes().sort((a, b) => b - a);
      expect(staging).toBe(2 ** 22);
      expect(parts.length).toBeLessThanOrEqual(2);
      expect(parts.reduce((sum, bytes) => sum + bytes, 0) / 4096).toBeLessThanOrEqual(50);
      optimizer.applyGradientsSync([[gradient, variable]]);
      gradient.fill(Number.NaN);
      expect(pinnedBytes()).toEqual([]);
      await runtime.synchronize();
      expect(variable.data.every((value) => value < 0)).toBe(true);
      await runtime.close();
      expect(stub.left).toBe(0);
    });

    test("memory that cannot be pinned is copied all the same", async () => {
      stub.reset();
      stub.fail("cuMemHostRegister_v2", 801);
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const values = new Float32Array(new SharedArrayBuffer(4000)).fill(3);
      const buffer = arrays.room(4000);
      backend.uploadInPlace(buffer.buffer, 0, values);
      expect(await arrays.read(buffer, 1000)).toEqual(Float32Array.from(values));
      const large = arrays.elements(new Float32Array(100_000).fill(4));
      expect(await arrays.read(large, 100_000)).toEqual(new Float32Array(100_000).fill(4));
      await backend.close();
      expect(stub.left).toBe(0);
    });

    test("no more than the limit is pinned", async () => {
      stub.reset();
      const backend = await stub.open({ pinLimit: 100_000 });
      const arrays = new DeviceArrays(backend);
      const buffer = arrays.room(400_000);
      stub.takeLog();
      for (const bytes of [40_000, 400_000]) {
        const values = new Float32Array(new SharedArrayBuffer(bytes)).fill(bytes);
        backend.uploadInPlace(buffer.buffer, 0, values);
        expect(await arrays.read(buffer, bytes / 4)).toEqual(Float32Array.from(values));
      }
      const pinned = stub.takeLog().filter((line) => line.startsWith("cuMemHostRegister"));
      expect(pinned.every((line) => Number(line.split(" ")[1]) <= 400_000)).toBe(true);
      await backend.close();
      expect(stub.left).toBe(0);
    });

    test("memory is zeroed, and given back when the device no longer uses it", async () => {
      stub.reset();
      const backend = await stub.open();
      const before = backend.memory();
      const buffer = backend.allocate(1000);
      expect(backend.memory()).toEqual({ free: before.free! - 1024, held: 1000 });
      const read = new Uint8Array(1000).fill(1);
      await backend.download(buffer, 0, read);
      expect(read).toEqual(new Uint8Array(1000));
      backend.free(buffer);
      backend.free(buffer);
      expect(backend.memory()).toEqual({ free: before.free! - 1024, held: 0 });
      await backend.finished();
      expect(backend.memory()).toEqual({ free: before.free, held: 0 });
      await backend.close();
    });

    test("the event loop goes on while the device works, whether or not a thread may wait for it", async () => {
      for (const waitNeedsContext of [0, 1]) {
        stub.reset();
        stub.set("waitNeedsContext", waitNeedsContext);
        const backend = await stub.open();
        stub.set("notReady", 1_000_000);
        if (waitNeedsContext) setTimeout(() => stub.set("notReady", 0), 20);
        let turns = 0;
        const timer = setInterval(() => turns++, 1);
        await backend.finished();
        await new Promise((resolve) => setTimeout(resolve, 5));
        clearInterval(timer);
        expect(turns).toBeGreaterThan(0);
        await backend.close();
      }
    });
  },
);
