import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { Adagrad, ArgumentError, channels, Runtime, Variable } from "@shardgrad/core";
import { afterAll, describe, expect, test, vi } from "vitest";

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

const names = ["build", "iteration", "emaOverwrite", "finalize"] as const;

function scene(options: object = {}) {
  const a = new Variable([3, 4], { name: "a", runtime });
  const b = new Variable([[1], [2], [3]], { name: "b", runtime });
  const optimizer = new Adagrad({ learningRate: 0.5, ...options, runtime });
  const seen: { name: string; payload: Record<string, unknown> }[] = [];
  for (const name of names) optimizer.on(name, (payload) => seen.push({ name, payload: payload as never }));
  return { a, b, optimizer, seen, step: () => optimizer.applyGradients([[[3, 4], a]]) };
}

test("order: build once, then emaOverwrite before iteration, at last finalize", async () => {
  const { a, optimizer, seen, step } = scene({ useEma: true, emaOverwriteFrequency: 2 });
  await step();
  await step();
  optimizer.applyGradientsSync([[[1, 1], a]]);
  optimizer.finalizeVariableValues([a]);
  expect(seen.map(({ name }) => name)).toEqual([
    "build",
    "iteration",
    "emaOverwrite",
    "iteration",
    "iteration",
    "finalize",
  ]);
});

test("iteration says what the step was", async () => {
  const { a, b, optimizer, seen } = scene({ globalClipnorm: 1 });
  await optimizer.applyGradients([
    [[3, 4], a],
    [null, b],
  ]);
  const { durationMs, ...payload } = seen.at(-1)!.payload;
  expect(payload).toEqual({
    iterations: 1,
    learningRate: 0.5,
    device: "inline",
    variables: [a],
    elements: 2,
    globalNorm: 5,
  });
  expect(durationMs).toBeTypeOf("number");
  expect(durationMs).toBeGreaterThanOrEqual(0);
});

test("the norm is there only when the step has computed it", async () => {
  const { seen, step } = scene();
  await step();
  expect(seen.at(-1)!.payload).not.toHaveProperty("globalNorm");
});

test("the state is that after the step when listeners run", async () => {
  const { a, optimizer, step } = scene({ useEma: true, emaOverwriteFrequency: 1, emaMomentum: 0 });
  const states: unknown[] = [];
  for (const name of ["emaOverwrite", "iteration"] as const) {
    optimizer.on(name, ({ iterations }) => states.push([iterations, optimizer.iterations, a.toArray()]));
  }
  await step();
  expect(states[0]).toEqual(states[1]);
  expect(states[0]).toEqual([1, 1, a.toArray()]);
});

test("emaOverwrite names the variables of the step", async () => {
  const { a, b, optimizer, seen } = scene({ useEma: true, emaOverwriteFrequency: 1 });
  await optimizer.applyGradients([
    [[1, 1], a],
    [{ indices: [1], values: [[1]] }, b],
  ]);
  await optimizer.applyGradients([[[1, 1], a]]);
  const overwrites = seen.filter(({ name }) => name === "emaOverwrite").map(({ payload }) => payload);
  expect(overwrites).toEqual([
    { iterations: 1, variables: [a, b] },
    { iterations: 2, variables: [a] },
  ]);
});

test("a step on threads says so", async () => {
  const threaded = new Runtime({ threads: 2, inlineThreshold: 0 });
  const w = new Variable([1, 2], { runtime: threaded });
  const optimizer = new Adagrad({ runtime: threaded });
  const devices: string[] = [];
  optimizer.on("iteration", ({ device }) => devices.push(device));
  await optimizer.applyGradients([[[1, 1], w]]);
  expect(devices).toEqual(["workers"]);
  await threaded.close();
});

describe("listeners", () => {
  test("once hears once, off stops", async () => {
    const { optimizer, step } = scene();
    const always = vi.fn();
    const once = vi.fn();
    optimizer.on("iteration", always).once("iteration", once);
    await step();
    await step();
    optimizer.off("iteration", always);
    await step();
    expect(once).toHaveBeenCalledTimes(1);
    expect(always).toHaveBeenCalledTimes(2);
  });

  test("may start the next step", async () => {
    const { a, optimizer, step } = scene();
    const next = new Promise<void>((resolve, reject) => {
      optimizer.once("iteration", () => {
        optimizer.applyGradients([[[1, 1], a]]).then(resolve, reject);
      });
    });
    await step();
    await next;
    expect(optimizer.iterations).toBe(2);
  });
});

describe("diagnostics channels", () => {
  test("have the names of one table", () => {
    expect(channels).toEqual({
      build: "shardgrad:build",
      iteration: "shardgrad:iteration",
      emaOverwrite: "shardgrad:emaOverwrite",
      finalize: "shardgrad:finalize",
      error: "shardgrad:error",
      drain: "shardgrad:drain",
      workerLost: "shardgrad:workerLost",
      deviceLost: "shardgrad:deviceLost",
      deviceChanged: "shardgrad:deviceChanged",
    });
  });

  test("carry the same payloads, without any listener on the optimizer", async () => {
    const published: [string | symbol, unknown][] = [];
    const listen = (message: unknown, name: string | symbol) => published.push([name, message]);
    for (const name of Object.values(channels)) subscribe(name, listen);
    const a = new Variable([3, 4], { runtime });
    const optimizer = new Adagrad({ useEma: true, emaOverwriteFrequency: 1, runtime });
    await optimizer.applyGradients([[[1, 1], a]]);
    optimizer.finalizeVariableValues([a]);
    for (const name of Object.values(channels)) unsubscribe(name, listen);
    const order = published.map(([name]) => name).filter((name) => name !== channels.drain);
    expect(order).toEqual([channels.build, channels.emaOverwrite, channels.iteration, channels.finalize]);
    const iteration = published.find(([name]) => name === channels.iteration)![1];
    expect(iteration).toMatchObject({ iterations: 1, variables: [a], elements: 2 });
  });

  test("are the very payloads that listeners get", async () => {
    const { optimizer, step } = scene();
    const got: unknown[] = [];
    const listen = (message: unknown) => got.push(message);
    subscribe(channels.iteration, listen);
    optimizer.on("iteration", (payload) => got.push(payload));
    await step();
    unsubscribe(channels.iteration, listen);
    expect(got.length).toBe(2);
    expect(got[0]).toBe(got[1]);
  });
});

test("events that there are not, and listeners that are no functions, are refused", () => {
  const { optimizer } = scene();
  for (const method of ["on", "once", "off"] as const) {
    const loose = (emitter: object) => (emitter as Record<string, (...args: unknown[]) => unknown>)[method]!;
    expect(() => loose(optimizer).call(optimizer, "drain", () => {})).toThrow(ArgumentError);
    expect(() => loose(runtime).call(runtime, "iteration", () => {})).toThrow(
      /expected one of drain, workerLost/,
    );
    expect(() => loose(optimizer).call(optimizer, "iteration")).toThrow("`listener`: expected a function");
  }
});
