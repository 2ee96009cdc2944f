import { getEventListeners } from "node:events";
import { setImmediate } from "node:timers/promises";
import {
  Adagrad,
  Optimizer,
  QueueFullError,
  type Runtime,
  ShardgradError,
  StateError,
  Variable,
} from "@shardgrad/core";
import { afterEach, expect, test } from "vitest";
import { pooled } from "../support/devices.js";
import { thrownBy } from "../support/outcome.js";
import { Reference, ReferenceVariable } from "../support/reference.js";
import { expectSameBits, stateOf, valuesOf } from "../support/state.js";

/** Large enough to still run while the calling thread goes on. */
const SIZE = 2_000_000;

let runtime: Runtime;
afterEach(() => runtime.close());

async function scene(options: { maxQueue?: number } = {}) {
  runtime = pooled(2, options);
  await runtime.ready();
  const w = Variable.ones([SIZE], { name: "w", runtime });
  const gradient = runtime.allocate(SIZE).fill(0.5);
  const optimizer = new Adagrad({ learningRate: 0.1, runtime });
  await optimizer.applyGradients([[gradient, w]]);
  const step = (signal?: AbortSignal) => optimizer.applyGradients([[gradient, w]], signal ? { signal } : {});
  return { w, gradient, optimizer, step };
}

/** The value of every element after a number of steps. */
function expected(steps: number): number {
  const oracle = new ReferenceVariable("float32", [1], [1]);
  const reference = new Reference({ learningRate: 0.1 });
  for (let s = 0; s < steps; s++) reference.step([[{ dense: [0.5] }, oracle]]);
  return oracle.values[0]!;
}

function expectSteps({ w, optimizer }: { w: Variable; optimizer: Adagrad }, steps: number): void {
  expect(optimizer.iterations).toBe(steps);
  const value = expected(steps);
  expect(valuesOf(w).every((x) => x === value)).toBe(true);
}

test("a full queue refuses the step that does not fit, and only that one", async () => {
  const made = await scene({ maxQueue: 2 });
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => made.step()));
  const refused = results.filter((result) => result.status === "rejected");
  expect(refused.length).toBe(5); // one runs, two wait
  for (const { reason } of refused) expect(reason).toBeInstanceOf(QueueFullError);
  expectSteps(made, 1 + 3);
  await made.step();
  expectSteps(made, 5);
});

test("pending shows the back-pressure, drain its end", async () => {
  const { step } = await scene({ maxQueue: 10 });
  let drained = 0;
  runtime.on("drain", () => drained++);
  const steps = [step(), step(), step()];
  expect(runtime.pending).toBe(3);
  await Promise.all(steps);
  await setImmediate();
  expect(runtime.pending).toBe(0);
  expect(drained).toBe(1);
});

test("a signal aborted before the call: not started", async () => {
  const made = await scene();
  const before = stateOf(made.optimizer, [made.w]);
  const error = await thrownBy(() => made.step(AbortSignal.abort()));
  expect(error).toMatchObject({ name: "AbortError" });
  const reason = new Error("no longer needed");
  expect(await thrownBy(() => made.step(AbortSignal.abort(reason)))).toBe(reason);
  expectSameBits(valuesOf(made.w), before.variables[0]!, "w");
  expectSteps(made, 1);
});

test("a signal aborted while the step waits: not started, and the others go on", async () => {
  const made = await scene();
  const controller = new AbortController();
  const first = made.step();
  const second = made.step(controller.signal);
  const third = made.step();
  controller.abort();
  expect(await thrownBy(() => second)).toMatchObject({ name: "AbortError" });
  await Promise.all([first, third]);
  expectSteps(made, 3);
});

test("a signal aborted when the step runs: complete", async () => {
  const made = await scene();
  const controller = new AbortController();
  const step = made.step(controller.signal);
  await Promise.resolve();
  controller.abort();
  await step;
  expectSteps(made, 2);
});

test("a signal used for many steps keeps no listeners", async () => {
  const { step } = await scene();
  const { signal } = new AbortController();
  await Promise.all(Array.from({ length: 15 }, () => step(signal)));
  expect(getEventListeners(signal, "abort").length).toBe(0);
});

test("an aborted synchronous step does not start", async () => {
  const { optimizer, gradient, w } = await scene();
  const error = await thrownBy(() =>
    optimizer.applyGradientsSync([[gradient, w]], { signal: AbortSignal.abort() }),
  );
  expect(error).toMatchObject({ name: "AbortError" });
  expectSteps({ optimizer, w }, 1);
});

test("a synchronous step does not overtake those that wait: it is refused", async () => {
  const made = await scene();
  const waiting = [made.step(), made.step()];
  const error = await thrownBy(() => made.optimizer.applyGradientsSync([[made.gradient, made.w]]));
  expect(error).toBeInstanceOf(ShardgradError);
  await Promise.all(waiting);
  expectSteps(made, 3);
});

test("close waits for the steps in the queue", async () => {
  const made = await scene();
  const steps = [made.step(), made.step()];
  await runtime.close();
  await Promise.all(steps);
  expectSteps(made, 3);
});

test("close with a timeout gives up the steps that have not started", async () => {
  const made = await scene();
  const steps = Promise.allSettled(Array.from({ length: 20 }, () => made.step()));
  await runtime.close({ timeout: 0 });
  const done = (await steps).filter(({ status }) => status === "fulfilled").length;
  expect(done).toBeGreaterThanOrEqual(1);
  expect(done).toBeLessThan(20);
  expectSteps(made, 1 + done);
});

test("close with a signal gives up the steps that have not started", async () => {
  const made = await scene();
  const steps = Promise.allSettled(Array.from({ length: 20 }, () => made.step()));
  await runtime.close({ signal: AbortSignal.abort() });
  const done = (await steps).filter(({ status }) => status === "fulfilled").length;
  expect(done).toBeLessThan(20);
  expectSteps(made, 1 + done);
});

test("a variable disposed while a step uses it keeps its memory until the step has ended", async () => {
  const { w, step } = await scene();
  const view = w.data;
  const running = step();
  w.dispose();
  const other = Variable.zeros([SIZE], { runtime }); // must not lie where the step writes
  await running;
  expect(other.data.every((x) => x === 0)).toBe(true);
  expect(view.length).toBe(SIZE);
});

test.each(["Adagrad", "its own updateStep"])(
  "a synchronous step of a variable that threads are writing for another optimizer is refused: %s",
  async (what) => {
    const { w, step } = await scene();
    class Own extends Optimizer {
      updateStep(_: unknown, { data }: Variable): void {
        data.fill(7);
      }
    }
    const other = what === "Adagrad" ? new Adagrad({ runtime }) : new Own({ runtime });
    const free = Variable.ones([4], { runtime });
    const gradient = new Float32Array(SIZE).fill(1);
    const now = () =>
      other.applyGradientsSync([
        [[1, 1, 1, 1], free],
        [gradient, w],
      ]);
    await setImmediate();
    const running = step(); // the threads have it when the call returns
    const refused = await thrownBy(now);
    expect(refused).toBeInstanceOf(StateError);
    expect((refused as Error).message).toContain("w");
    await running;
    expect([other.built, other.iterations, free.data[0]]).toEqual([false, 0, 1]);
    now();
    expect(other.iterations).toBe(1);
  },
);
