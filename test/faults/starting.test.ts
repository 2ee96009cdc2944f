import { createRequire } from "node:module";
import type { WorkerOptions } from "node:worker_threads";
import { Adagrad, ClosedRuntimeError, Variable, WorkerLostError } from "@shardgrad/core";
import { afterEach, expect, test } from "vitest";
import { pooled } from "../support/devices.js";
import { thrownBy } from "../support/outcome.js";

/** Threads that are not up yet when something else happens, or that do not come up. */

const threads = createRequire(import.meta.url)("node:worker_threads");
const { Worker } = threads;
afterEach(() => {
  threads.Worker = Worker;
});

/** The threads that are made from now on end at once, where `ends` says so of their number. */
function threadsThatEnd(ends: (made: number) => boolean): void {
  let made = 0;
  threads.Worker = class extends Worker {
    constructor(file: string, options: WorkerOptions) {
      super(ends(made++) ? "process.exit(3)" : file, { ...options, ...(ends(made - 1) && { eval: true }) });
    }
  };
}

/** Small variables, and a step of them whose program is longer than the one that threads begin with. */
function manyVariables(runtime: ReturnType<typeof pooled>) {
  const variables = Array.from({ length: 3000 }, () => Variable.ones([8], { runtime }));
  const optimizer = new Adagrad({ learningRate: 1, runtime });
  optimizer.build(variables);
  const pairs = variables.map((variable) => [runtime.allocate(8).fill(1), variable] as const);
  return { variables, optimizer, pairs };
}

test("a large step that comes while threads start is the one that they run", async () => {
  const runtime = pooled(2);
  const { variables, optimizer, pairs } = manyVariables(runtime);
  const ready = runtime.ready();
  await optimizer.applyGradients(pairs);
  await ready;
  expect(variables.filter(({ data }) => data.includes(1)).length).toBe(0);
  await runtime.close();
});

test("a runtime that is closed while threads start: both end, and say so", async () => {
  const runtime = pooled(3);
  const ready = thrownBy(() => runtime.ready());
  await runtime.close();
  expect(await ready).toBeInstanceOf(ClosedRuntimeError);
});

test("a thread that fails to start is started again, and no lane is there twice", async () => {
  threadsThatEnd((made) => made === 1);
  const runtime = pooled(2);
  const weights = Variable.zeros([100_000], { runtime });
  const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime });
  const devices: string[] = [];
  optimizer.on("iteration", ({ device }) => devices.push(device));
  await optimizer.applyGradients([[new Float32Array(100_000).fill(1), weights]]);
  expect(devices).toEqual(["workers"]);
  // A second thread for a lane would do its share twice.
  expect(weights.data.every((value) => value === -1)).toBe(true);
  await runtime.close();
});

test("threads that never start: an error that says so, nothing changed, and later ones can", async () => {
  threadsThatEnd(() => true);
  const runtime = pooled(2);
  const weights = Variable.ones([100_000], { runtime });
  const optimizer = new Adagrad({ runtime });
  const gradient = new Float32Array(100_000).fill(1);
  expect(await thrownBy(() => runtime.ready())).toMatchObject({ code: "ERR_SHARDGRAD_LANE_LOST" });
  const error = await thrownBy(() => optimizer.applyGradients([[gradient, weights]]));
  expect(error).toBeInstanceOf(WorkerLostError);
  expect([(error as WorkerLostError).damage, optimizer.iterations]).toEqual([[], 0]);
  expect(weights.data.every((value) => value === 1)).toBe(true);
  threads.Worker = Worker;
  await optimizer.applyGradients([[gradient, weights]]);
  expect(weights.data.every((value) => value < 1)).toBe(true);
  await runtime.close();
});
