import { availableParallelism } from "node:os";
import { Adagrad, ClosedRuntimeError, Runtime, Variable } from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { runInChild } from "../support/child.js";
import { hasNativeKernels } from "../support/devices.js";

describe("options", () => {
  test("defaults", async () => {
    const runtime = new Runtime();
    expect(runtime.threads).toBe(availableParallelism());
    expect([runtime.pending, runtime.closed]).toEqual([0, false]);
    await runtime.close();
  });

  test("device auto and cpu", async () => {
    for (const device of ["auto", "cpu"] as const) await new Runtime({ device, threads: 0 }).close();
  });
});

describe("kernels", () => {
  test("wasm is to be had everywhere", async () => {
    const runtime = new Runtime({ threads: 0, kernels: "wasm" });
    expect(runtime.instructions).toBe("simd128");
    await runtime.close();
  });

  test.runIf(hasNativeKernels)("auto takes native ones where the package has them", async () => {
    for (const kernels of ["auto", "native"] as const) {
      const runtime = new Runtime({ threads: 0, kernels });
      expect(["avx512", "avx2", "baseline"]).toContain(runtime.instructions);
      await runtime.close();
    }
  });

  test("without a library for the machine auto works, and native is refused with the reason", async () => {
    const code = `
      Object.defineProperty(process, "arch", { value: "riscv64" });
      const { Adagrad, Runtime, Variable } = await import("@shardgrad/core");
      const runtime = new Runtime({ threads: 0 });
      const weights = Variable.zeros([4000], { runtime });
      new Adagrad({ runtime }).applyGradientsSync([[new Float32Array(4000).fill(1), weights]]);
      let message = "none";
      try { new Runtime({ kernels: "native" }); } catch (error) { message = error.code + " " + error.message; }
      console.log(runtime.instructions, weights.data[3999] < 0, message);`;
    const { output } = await runInChild(code);
    expect(output).toMatch(/^simd128 true ERR_SHARDGRAD_OPTION .*native.*riscv64/);
  });
});

describe("threads", () => {
  const prelude = `
    import { Adagrad, Runtime, Variable } from "@shardgrad/core";
    import { readdirSync } from "node:fs";
    const osThreads = () => readdirSync("/proc/self/task").length;
  `;

  test.runIf(process.platform === "linux")("start on first need", async () => {
    const { output, code, errors } = await runInChild(`${prelude}
      const before = osThreads();
      const runtime = new Runtime({ threads: 2, inlineThreshold: 1000 });
      const optimizer = new Adagrad({ runtime });
      const [small, large] = [Variable.ones([10], { runtime }), Variable.ones([5000], { runtime })];
      optimizer.build([small, large]);
      await optimizer.applyGradients([[new Float32Array(10), small]]);
      optimizer.applyGradientsSync([[new Float32Array(5000), large]]);
      const idle = osThreads() - before;
      await optimizer.applyGradients([[new Float32Array(5000), large]]);
      console.log(idle, osThreads() - before >= 2);
    `);
    expect({ output, code, errors }).toEqual({ output: "0 true\n", code: 0, errors: "" });
  });

  test.each([
    ["never closed, idle", "await runtime.ready();"],
    ["never closed, after steps", "await step(); await step();"],
    ["closed", "await step(); await runtime.close();"],
    ["disposed", "await step(); await runtime[Symbol.asyncDispose]();"],
    ["the default one", "const v = new Variable([1]); await new Adagrad().applyGradients([[[1], v]]);"],
    ["never used", ""],
  ])("do not keep the process alive: a runtime %s", async (_, code) => {
    const result = await runInChild(`${prelude}
      const runtime = new Runtime({ threads: 2, inlineThreshold: 0 });
      const w = Variable.ones([5000], { runtime });
      const optimizer = new Adagrad({ runtime });
      const step = () => optimizer.applyGradients([[new Float32Array(5000), w]]);
      ${code}
      console.log("end");
    `);
    expect(result).toEqual({ code: 0, signal: null, output: "end\n", errors: "" });
  });

  test("keep the process alive while a step runs that nobody waits for", async () => {
    const { output, code } = await runInChild(`${prelude}
      const runtime = new Runtime({ threads: 2, inlineThreshold: 0 });
      const w = Variable.ones([2_000_000], { runtime });
      const optimizer = new Adagrad({ runtime });
      optimizer.on("iteration", ({ iterations }) => console.log("step", iterations));
      optimizer.applyGradients([[runtime.allocate(2_000_000), w]]);
      optimizer.applyGradients([[runtime.allocate(2_000_000), w]]);
    `);
    expect({ output, code }).toEqual({ output: "step 1\nstep 2\n", code: 0 });
  });

  test("a runtime in a worker thread of the user", async () => {
    const { output, code, errors } = await runInChild(`
      import { Worker } from "node:worker_threads";
      const source = \`
        import { Adagrad, Runtime, Variable } from "@shardgrad/core";
        import { parentPort } from "node:worker_threads";
        const runtime = new Runtime({ threads: 2, inlineThreshold: 0 });
        const w = Variable.ones([5000], { runtime });
        await new Adagrad({ runtime }).applyGradients([[new Float32Array(5000).fill(1), w]]);
        await runtime.close();
        parentPort.postMessage(w.data[4999] < 1);
      \`;
      const worker = new Worker(new URL("data:text/javascript," + encodeURIComponent(
        source.replace("@shardgrad/core", import.meta.resolve("@shardgrad/core")))));
      worker.on("message", (message) => console.log(message));
    `);
    expect({ output, code, errors }).toEqual({ output: "true\n", code: 0, errors: "" });
  });
});

describe("the event loop", () => {
  test("goes on during a large asynchronous step", async () => {
    const runtime = new Runtime({ threads: 1 });
    await runtime.ready();
    const w = Variable.ones([8_000_000], { runtime });
    const gradient = runtime.allocate(8_000_000);
    const optimizer = new Adagrad({ useEma: true, globalClipnorm: 1, runtime });
    await optimizer.applyGradients([[gradient, w]]);
    let most = 0;
    // The operating system may keep this thread off the processors for the length of a step, so one step proves
    // nothing; a step that blocked the thread would show no turns in any of them.
    for (let step = 0; step < 20; step++) {
      let turns = 0;
      let running = true;
      const turn = () => {
        turns++;
        if (running) setImmediate(turn);
      };
      turn();
      await optimizer.applyGradients([[gradient, w]]);
      running = false;
      most = Math.max(most, turns);
    }
    expect(most).toBeGreaterThan(5);
    await runtime.close();
  });
});

describe("close", () => {
  test("drains, is idempotent, and leaves variables readable", async () => {
    const runtime = new Runtime({ threads: 2, inlineThreshold: 0 });
    const w = Variable.ones([1000], { runtime });
    const optimizer = new Adagrad({ runtime });
    const steps = [1, 2, 3].map(() => optimizer.applyGradients([[new Float32Array(1000).fill(1), w]]));
    const closing = runtime.close();
    expect(runtime.closed).toBe(true);
    await expect(optimizer.applyGradients([[new Float32Array(1000), w]])).rejects.toThrow(ClosedRuntimeError);
    await Promise.all([...steps, closing, runtime.close()]);
    expect(optimizer.iterations).toBe(3);
    expect(w.data[0]).toBeLessThan(1);
  });

  test("a runtime that never started", async () => {
    const runtime = new Runtime({ threads: 4 });
    await runtime.close();
    expect(runtime.closed).toBe(true);
  });

  test("the default runtime is made anew after it was closed", async () => {
    const first = Runtime.default();
    await first.close();
    const second = Runtime.default();
    expect(second).not.toBe(first);
    expect(second.closed).toBe(false);
  });

  test("Symbol.asyncDispose closes", async () => {
    const runtime = new Runtime({ threads: 1 });
    await runtime[Symbol.asyncDispose]();
    expect(runtime.closed).toBe(true);
  });
});

describe("allocate", () => {
  test("gives zeroed arrays on shared memory, by length or shape", async () => {
    const runtime = new Runtime({ threads: 0 });
    for (const [dtype, type] of [
      ["float32", Float32Array],
      ["float64", Float64Array],
      ["float16", Uint16Array],
    ] as const) {
      const array = runtime.allocate([3, 5], dtype);
      expect(array).toBeInstanceOf(type);
      expect(array.length).toBe(15);
      expect(array.buffer).toBeInstanceOf(SharedArrayBuffer);
      expect(array.every((x) => x === 0)).toBe(true);
      array.fill(7);
      runtime.release(array);
      expect(runtime.allocate([3, 5], dtype).every((x) => x === 0)).toBe(true);
    }
    expect(runtime.allocate(0).length).toBe(0);
    await runtime.close();
  });

  test("near a variable that is in another memory than the first", async () => {
    const runtime = new Runtime({ threads: 0, arenaBytes: 256 * 1024 });
    const variables = Array.from({ length: 8 }, () => Variable.ones([4000], { runtime }));
    const last = variables.at(-1)!;
    const gradient = runtime.allocate(4000, "float32", { near: last });
    expect(gradient.buffer).toBe(last.data.buffer);
    gradient.fill(1);
    await new Adagrad({ runtime }).applyGradients([[gradient, last]]);
    expect(last.data[3999]).toBeLessThan(1);
    await runtime.close();
  });
});

test("memoryBytes says what is held", async () => {
  const runtime = new Runtime({ threads: 0 });
  expect(runtime.memoryBytes).toBe(0);
  Variable.zeros([1_000_000], { runtime });
  expect(runtime.memoryBytes).toBeGreaterThanOrEqual(4_000_000);
  await runtime.close();
});

describe("order", () => {
  test("steps of several optimizers on one runtime run in the order of the calls", async () => {
    const runtime = new Runtime({ threads: 2, inlineThreshold: 1000 });
    const order: string[] = [];
    const make = (name: string, size: number) => {
      const w = Variable.ones([size], { runtime });
      const optimizer = new Adagrad({ name, runtime });
      optimizer.on("iteration", () => order.push(name));
      return () => optimizer.applyGradients([[new Float32Array(size), w]]);
    };
    const [large, small] = [make("large", 500_000), make("small", 10)];
    await Promise.all([large(), small(), small(), large(), small()]);
    expect(order).toEqual(["large", "small", "small", "large", "small"]);
    await runtime.close();
  });

  test("variables shared by two optimizers see the steps in that order", async () => {
    const runtime = new Runtime({ threads: 2, inlineThreshold: 0 });
    const w = new Variable([1], { runtime });
    const options = { learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime };
    const [a, b] = [new Adagrad(options), new Adagrad(options)];
    await Promise.all([
      a.applyGradients([[[2], w]]),
      b.applyGradients([[[-3], w]]),
      a.applyGradients([[[0], w]]),
    ]);
    expect(w.toArray()).toEqual([1]);
    await runtime.close();
  });
});

test("threads take part in a synchronous loop that never awaits after ready()", async () => {
  const runtime = new Runtime({ threads: 2, inlineThreshold: 0 });
  await runtime.ready();
  const weights = Variable.zeros([10_000], { runtime });
  const optimizer = new Adagrad({ runtime });
  const devices: string[] = [];
  optimizer.on("iteration", ({ device }) => devices.push(device));
  for (let i = 0; i < 3; i++) optimizer.applyGradientsSync([[new Float32Array(10_000).fill(1), weights]]);
  expect(devices).toEqual(["workers", "workers", "workers"]);
  await runtime.close();
});
