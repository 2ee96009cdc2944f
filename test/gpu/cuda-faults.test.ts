import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { DeviceLostError, GpuMemoryError, openCuda } from "@shardgrad/gpu";
import { describe, expect, test } from "vitest";
import { DeviceArrays } from "./device-arrays.js";
import { stubCuda } from "./stub-cuda.js";

test("without a driver: one line that says so", async () => {
  const reason = await openCuda({ library: "/no/such/libcuda.so.1" });
  expect(reason).toMatch(/^CUDA: no NVIDIA driver: .*cannot open|^CUDA: no NVIDIA driver: /);
  expect(reason).not.toContain("\n");
});

test("with a library that is not the driver's: the function that it lacks", async () => {
  const library = process.platform === "darwin" ? "/usr/lib/libSystem.B.dylib" : "libc.so.6";
  expect(await openCuda({ library })).toMatch(/^CUDA: no NVIDIA driver: .*cuInit/);
});

const stub = stubCuda();

describe.skipIf(typeof stub === "string")(
  `faults of the CUDA driver${typeof stub === "string" ? ` (${stub})` : ""}`,
  () => {
    if (typeof stub === "string") return;
    const open = () => openCuda({ library: stub.path });

    test.each([
      ["no device", () => stub.fail("cuInit", 100), "no NVIDIA GPU is visible to this process"],
      ["no device is counted", () => stub.set("devices", 0), "no NVIDIA GPU is visible to this process"],
      ["a stub of the toolkit", () => stub.fail("cuInit", 34), "a stub without a driver"],
      ["a driver that was updated", () => stub.fail("cuInit", 803), "restart after a driver update"],
      ["an old driver", () => stub.set("driverVersion", 9020), "the driver is for CUDA 9.2, 10.1 is needed"],
      [
        "an old device",
        () => stub.set("attribute75", 6),
        "Stub GPU 0 has compute capability 6, 7.5 is needed",
      ],
      ["a closed device", () => stub.set("attribute20", 2), "Stub GPU 0 is closed to computing"],
      ["no context", () => stub.fail("cuDevicePrimaryCtxRetain", 2), "CUDA_ERROR_OUT_OF_MEMORY (2)"],
      [
        "a busy device",
        () => stub.fail("cuDevicePrimaryCtxRetain", 46),
        "CUDA_ERROR_DEVICE_UNAVAILABLE (46)",
      ],
      ["a result that has no name here", () => stub.fail("cuInit", 321), "CUDA error 321: as the test told"],
      ["PTX that is refused", () => stub.set("invalidPtx", 1), "ptxas fatal : Unexpected text line 1"],
      ["no compiler", () => stub.fail("cuModuleLoadDataEx", 221), "CUDA_ERROR_JIT_COMPILER_NOT_FOUND (221)"],
      ["a kernel that is missing", () => stub.fail("cuModuleGetFunction", 500), "CUDA_ERROR_NOT_FOUND (500)"],
      ["no stream", () => stub.fail("cuStreamCreate", 2), "CUDA_ERROR_OUT_OF_MEMORY (2)"],
      ["no event", () => stub.fail("cuEventCreate", 2, { after: 3 }), "CUDA_ERROR_OUT_OF_MEMORY (2)"],
      [
        "a kernel that does not fit",
        () => stub.fail("cuLaunchKernel", 701, { after: 3 }),
        "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES (701)",
      ],
      ["a kernel that fails", () => stub.fail("execution", 719), "CUDA_ERROR_LAUNCH_FAILED (719)"],
    ])("%s: one line, nothing left behind", async (_, arrange, expected) => {
      stub.reset();
      arrange();
      const reason = await open();
      expect(reason).toMatch(/^CUDA: /);
      expect(reason).toContain(expected);
      expect(reason).not.toContain("\n");
      expect(stub.left).toBe(0);
    });

    test("the first device that can be used, or the one asked for", async () => {
      stub.reset();
      stub.set("devices", 3);
      stub.set("attribute75of0", 6);
      const opened = async (device?: number) => {
        const backend = await openCuda({ library: stub.path, ...(device !== undefined && { device }) });
        if (typeof backend === "string") return backend;
        await backend.close();
        return backend.description;
      };
      expect(await opened()).toBe("Stub GPU 1 (CUDA 12.4)");
      expect(await opened(2)).toBe("Stub GPU 2 (CUDA 12.4)");
      expect(await opened(0)).toBe("CUDA: Stub GPU 0 has compute capability 6, 7.5 is needed");
      expect(await opened(3)).toBe("CUDA: there is no device 3: devices are numbered from 0 to 2");
    });

    test("a device that another process has for itself: the next one, or a line for each", async () => {
      stub.reset();
      stub.set("devices", 2);
      stub.set("takenOf0", 1);
      const backend = await stub.open();
      expect(backend.description).toBe("Stub GPU 1 (CUDA 12.4)");
      await backend.close();
      stub.set("takenOf1", 1);
      const reason = await open();
      for (const name of ["Stub GPU 0", "Stub GPU 1"])
        expect(reason).toContain(`${name} could not be opened`);
      expect(reason).toContain("CUDA_ERROR_DEVICE_UNAVAILABLE (46)");
      expect(stub.left).toBe(0);
    });

    test("out of memory: an error that says for what, and all goes on", async () => {
      stub.reset();
      stub.set("totalBytes", 10_000);
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const kept = arrays.elements([1, 2, 3]);
      expect(() => backend.allocate(20_000)).toThrow(GpuMemoryError);
      expect(() => backend.allocate(20_000)).toThrow("The device has no room for 20000 bytes.");
      expect([...(await arrays.read(kept, 3))]).toEqual([1, 2, 3]);
      // What was freed is there again, even when nobody waited for the device in between.
      const large = backend.allocate(9000);
      backend.free(large);
      const again = backend.allocate(9000);
      expect(again.bytes).toBe(9000);
      await backend.close();
      expect(stub.left).toBe(0);
    });

    test.each([700, 702, 714, 715, 716, 719, 214, 999])(
      "a launch that fails while it runs (%i) ends the device, and says so everywhere",
      async (result) => {
        stub.reset();
        const backend = await stub.open();
        const arrays = new DeviceArrays(backend);
        const buffer = arrays.elements([1]);
        await backend.finished();
        stub.fail("execution", result);
        arrays.launch("fill", { target: buffer }, { value: 1, offset: 0, elements: 1 }, 1);
        const read = arrays.read(buffer, 1);
        await expect(read).rejects.toThrow(DeviceLostError);
        await expect(read).rejects.toThrow(`(${result})`);
        const { reason } = await backend.lost;
        expect(reason).toContain(`(${result})`);
        const target = new Float32Array(1);
        expect(() => backend.upload(buffer.buffer, 0, target)).toThrow(DeviceLostError);
        expect(() => backend.launch([])).not.toThrow();
        expect(() => backend.allocate(4)).toThrow(DeviceLostError);
        await expect(backend.download(buffer.buffer, 0, target)).rejects.toThrow(DeviceLostError);
        await expect(backend.finished()).rejects.toThrow(DeviceLostError);
        expect(backend.memory()).toEqual({ held: 256 });
        await backend.close();
      },
    );

    const fail = (
      call: string,
      work: "upload" | "launch" | "download" | "finished" | "allocate" | "memory",
    ) => ({
      call,
      work,
    });
    test.each([
      fail("cuMemcpyHtoDAsync_v2", "upload"),
      fail("cuLaunchKernel", "launch"),
      fail("cuStreamWaitEvent", "launch"),
      fail("cuEventRecord", "launch"),
      fail("cuMemcpyDtoHAsync_v2", "download"),
      fail("cuEventQuery", "download"),
      fail("cuEventRecord", "finished"),
      fail("cuEventQuery", "finished"),
      fail("cuMemAlloc_v2", "allocate"),
      fail("cuMemsetD8Async", "allocate"),
      fail("cuMemGetInfo_v2", "memory"),
    ])("$call fails in $work: the device is lost, the error is typed", async ({ call, work }) => {
      stub.reset();
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const buffer = arrays.elements([1]);
      stub.fail(call, 719, { sticky: true });
      const run = async () => {
        if (work === "upload") backend.upload(buffer.buffer, 0, Float32Array.of(1));
        if (work === "launch")
          arrays.launch("fill", { target: buffer }, { value: 1, offset: 0, elements: 1 }, 1);
        if (work === "download") await arrays.read(buffer, 1);
        if (work === "finished") await backend.finished();
        if (work === "allocate") backend.allocate(4);
        if (work === "memory") backend.memory();
      };
      await expect(run()).rejects.toThrow(DeviceLostError);
      const { reason } = await backend.lost;
      expect(reason).toBe(`${call}: CUDA_ERROR_LAUNCH_FAILED (719): as the test told`);
      await backend.close();
    });

    test("a waiting thread that fails", async () => {
      stub.reset();
      const backend = await stub.open();
      stub.set("notReady", 1_000_000);
      stub.fail("cuEventSynchronize", 702, { sticky: true });
      await expect(backend.finished()).rejects.toThrow("CUDA_ERROR_LAUNCH_TIMEOUT (702)");
      await backend.close();
    });

    test("a thread that may not wait, for whatever reason: the calling thread asks", async () => {
      stub.reset();
      const backend = await stub.open();
      stub.set("notReady", 1_000_000);
      stub.fail("cuEventSynchronize", 400);
      setTimeout(() => stub.set("notReady", 0), 20);
      await backend.finished();
      await backend.close();
      expect(stub.left).toBe(0);
    });

    test("another library that makes its own context current in between", async () => {
      stub.reset();
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const buffer = arrays.elements(new Float32Array(100_000).fill(3));
      stub.set("leaves", 1);
      expect((await arrays.read(buffer, 100_000)).every((value) => value === 3)).toBe(true);
      await backend.finished();
      arrays.free(buffer);
      await backend.finished();
      expect(backend.memory().held).toBe(0);
      await backend.close();
      expect(stub.left).toBe(0);
    });

    test("two back ends on a thread: the context stays current for the other, and for nobody at the end", async () => {
      stub.reset();
      const [first, second] = [await stub.open(), await stub.open()];
      const arrays = new DeviceArrays(second);
      const buffer = arrays.elements(Float32Array.from({ length: 100_000 }, (_, i) => i));
      const read = arrays.read(buffer, 100_000);
      await first.close();
      expect((await read)[99_999]).toBe(99_999);
      expect(stub.takeLog().filter((line) => line === "cuDevicePrimaryCtxRelease").length).toBe(1);
      // One opens while another closes.
      const [third] = await Promise.all([stub.open(), second.close(), stub.open().then((b) => b.close())]);
      await third.finished();
      await third.close();
      expect(stub.current).toBe(0);
      expect(stub.left).toBe(0);
    });

    test("closing: what waits still ends, nothing is left, `lost` stays open, and it can be done twice", async () => {
      stub.reset();
      const backend = await stub.open();
      const arrays = new DeviceArrays(backend);
      const buffer = arrays.elements([1, 2]);
      const read = arrays.read(buffer, 2);
      await Promise.all([backend.close(), backend.close()]);
      expect([...(await read)]).toEqual([1, 2]);
      expect(stub.left).toBe(0);
      expect(() => backend.upload(buffer.buffer, 0, Float32Array.of(1))).toThrow(DeviceLostError);
      const first = await Promise.race([
        backend.lost,
        new Promise((resolve) => setTimeout(resolve, 5, "open")),
      ]);
      expect(first).toBe("open");
      // The device can be opened again.
      await (await stub.open()).close();
      expect(stub.left).toBe(0);
    });

    test.each(["", "await runtime.close();"])(
      "a process ends by itself with threads and device open; then: %s",
      (end) => {
        const program = `
        import { Adagrad, Runtime, Variable } from "@shardgrad/core";
        const runtime = new Runtime({ device: "cuda", threads: 1 });
        const variable = Variable.zeros([100], { runtime });
        const optimizer = new Adagrad({ runtime });
        optimizer.on("iteration", ({ device }) => console.log(device));
        await optimizer.applyGradients([[new Float32Array(100).fill(1), variable]]);
        console.log((await variable.read())[0] < 0);
        ${end}`;
        const args = ["--input-type=module", "-e", program];
        const env = { ...process.env, SHARDGRAD_CUDA_LIBRARY: stub.path };
        const options = { env, encoding: "utf8", timeout: 20_000 } as const;
        expect(spawnSync(process.execPath, args, options)).toMatchObject({
          status: 0,
          stdout: "cuda\ntrue\n",
          stderr: "",
        });
      },
    );

    test("works in a thread of the program's own", async () => {
      const program = `
        const { parentPort } = require("node:worker_threads");
        import("@shardgrad/gpu").then(async ({ openCuda }) => {
          const backend = await openCuda({ library: ${JSON.stringify(stub.path)} });
          const buffer = backend.allocate(8);
          backend.upload(buffer, 0, Float32Array.of(1, 2));
          const target = new Float32Array(2);
          await backend.download(buffer, 0, target);
          await backend.close();
          parentPort.postMessage([...target]);
        });`;
      stub.reset();
      const worker = new Worker(program, { eval: true });
      const [message] = await once(worker, "message");
      expect(message).toEqual([1, 2]);
      await worker.terminate();
    });

    test("a dtype that it has not", async () => {
      stub.reset();
      const backend = await stub.open();
      const [source, target] = [new DeviceArrays(backend).room(4), new DeviceArrays(backend).room(4)];
      const command = { kernel: "copy", buffers: [source, target], scalars: [0, 0, 1], count: 1 } as const;
      expect(() => backend.launch([{ ...command, dtype: "float16" }])).toThrow("CUDA has no float16.");
      await backend.close();
    });
  },
);
