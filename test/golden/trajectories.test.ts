import { ShardgradError } from "@shardgrad/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { departures } from "../support/departures.js";
import { deviceName, pooled, threadCounts } from "../support/devices.js";
import { type GoldenNumber, golden, numbers, type Trajectory } from "../support/golden.js";
import { runTrajectory, type Trace } from "../support/library.js";
import { expectClose, expectSameBits, expectSameState } from "../support/state.js";

/**
 * Every recorded trajectory, inline and on pools of 1 to 4 threads, asynchronous and synchronous.
 * `exact` cases agree bit for bit; the others within the tolerance recorded with them, for its reason:
 */
const tolerated: Partial<Record<Trajectory["match"], string>> = {
  reduction: "TensorFlow sums a norm in its own order",
  reduction64: "TensorFlow sums a norm in its own order",
  reduction16: "TensorFlow sums a norm in its own order, in half precision",
  transcendental: "TensorFlow's float32 pow, log and cos are not correctly rounded",
};

const families = [
  "dense",
  "edge",
  "clipping",
  "ema",
  "none_subset",
  "sparse",
  "schedule_driven",
  "dtypes",
  "minimize",
  "denormal",
];

const runtimes = threadCounts.map((threads) => pooled(threads));

beforeAll(async () => {
  await Promise.all(runtimes.map((runtime) => runtime.ready()));
});
afterAll(async () => {
  await Promise.all(runtimes.map((runtime) => runtime.close()));
});

/** What inline computes, the measure of "identical bits" for every pool. */
const inlineTraces = new Map<string, Promise<Trace>>();

function inlineTrace(key: string, recorded: Trajectory): Promise<Trace> {
  const trace = inlineTraces.get(key) ?? runTrajectory(recorded, runtimes[0]!, "async");
  inlineTraces.set(key, trace);
  return trace;
}

type Compare = (actual: ArrayLike<number>, expected: readonly GoldenNumber[], what: string) => void;

function comparison(recorded: Trajectory): Compare {
  if (recorded.match === "exact") return (a, b, what) => expectSameBits(a, numbers(b), what);
  expect(tolerated[recorded.match], "a reason for the tolerance").toBeTypeOf("string");
  return (a, b, what) => expectClose(a, numbers(b), recorded, what);
}

function expectTrajectory(trace: Trace, recorded: Trajectory): void {
  const compare = comparison(recorded);
  compare([trace.initialLearningRate], [recorded.initial_learning_rate], "initial learningRate ");
  recorded.steps.forEach((step, s) => {
    const state = trace.states[s]!;
    if (step.error) expect(trace.errors[s], `step ${s} is refused`).toBeInstanceOf(ShardgradError);
    else expect(trace.errors[s], `step ${s} is not refused`).toBeUndefined();
    expect(state.iterations, `step ${s} iterations`).toBe(step.iterations);
    compare([state.learningRate], [step.learning_rate], `step ${s} learningRate `);
    for (const part of ["variables", "accumulators", "averages"] as const) {
      const lists = step[part] ?? []; // null: not existing yet
      expect(state[part].length, `step ${s} number of ${part}`).toBe(lists.length);
      lists.forEach((values, i) => {
        compare(state[part][i]!, values, `step ${s} ${part}[${i}]`);
      });
    }
  });
  const { finalized } = recorded;
  if (finalized?.error) expect(trace.finalizeError).toBeInstanceOf(ShardgradError);
  else expect(trace.finalizeError).toBeUndefined();
  finalized?.variables?.forEach((values, i) => {
    compare(trace.final.variables[i]!, values, `finalized variables[${i}]`);
  });
}

function expectSameTrace(actual: Trace, expected: Trace): void {
  actual.states.forEach((state, s) => {
    expectSameState(state, expected.states[s]!, `step ${s}, against inline:`);
  });
  expectSameState(actual.final, expected.final, "finalized, against inline:");
}

for (const [i, threads] of threadCounts.entries()) {
  const runtime = runtimes[i]!;
  describe(deviceName(threads), () => {
    describe.each(families)("%s", (family) => {
      for (const recorded of golden(family)) {
        const key = `${family}/${recorded.name}`;
        if (departures[key]) {
          test.skip(`${recorded.name} (${departures[key]})`, () => {});
          continue;
        }
        if (recorded.match === "flush") {
          test.skip(`${recorded.name} (IEEE denormals are kept: see denormals.test.ts)`, () => {});
          continue;
        }
        test(recorded.name, async () => {
          const reference = await inlineTrace(key, recorded);
          const modes =
            family === "minimize" ? (["async", "sync", "minimize"] as const) : (["async", "sync"] as const);
          for (const mode of modes) {
            const trace = await runTrajectory(recorded, runtime, mode);
            expectTrajectory(trace, recorded);
            expectSameTrace(trace, reference);
          }
        });
      }
    });
  });
}

test("slots carry the recorded names", async () => {
  for (const family of families) {
    for (const recorded of golden(family)) {
      if (departures[`${family}/${recorded.name}`] || !recorded.slot_names) continue;
      const { optimizer } = await inlineTrace(`${family}/${recorded.name}`, recorded);
      const names = (list: readonly { name: string }[]) => list.map(({ name }) => name);
      expect(names(optimizer.accumulators), recorded.name).toEqual(recorded.slot_names.accumulators ?? []);
      expect(names(optimizer.averages), recorded.name).toEqual(recorded.slot_names.averages ?? []);
    }
  }
});

test("minimize returns the loss before the step", async () => {
  for (const recorded of golden("minimize")) {
    const { losses } = await runTrajectory(recorded, runtimes[0]!, "minimize");
    expect(losses, recorded.name).toEqual(recorded.steps.map(({ loss }) => loss));
  }
});
