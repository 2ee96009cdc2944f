import { CpuDevice, MemoryPool, type StepPlan } from "@shardgrad/workers";
import { expect, test } from "vitest";
import { HostCopies } from "../../packages/core/dist/placement/host-copies.js";

/** Doing steps of a lost device again, when that itself fails on the way. */

/** Two variables of four elements, and steps with gradients of one for one or both of them. */
function scene() {
  let cpu: CpuDevice | undefined;
  const memory = new MemoryPool(undefined, (arena) => cpu?.attach(arena));
  const options = { threads: 0, inlineThreshold: undefined, kernels: "auto" } as const;
  cpu = new CpuDevice(options, memory, { laneLost() {} });
  const home = memory.reserve(64);
  const array = (value: number) => {
    const block = memory.allocateAt(home, 16);
    return { offset: block.offset, view: (memory.view(block, "float32") as Float32Array).fill(value) };
  };
  const gradient = array(1).offset;
  const variables = [0, 1].map(() => {
    const [variable, accumulator] = [array(0), array(0)];
    const segment = {
      ...{ memory: home.arena.id, start: 0, count: 4, average: 0, lazy: 0, versions: 0, versionMask: 0 },
      ...{ variable: variable.offset, accumulator: accumulator.offset },
      gradient: { kind: "dense", offset: gradient } as const,
    };
    const update = {
      ...({ operation: "adagrad", dtype: "float32" } as const),
      ...{ rowSize: 1, pin: 0, perRow: false, rowwise: false, learningRate: 1, epsilon: 0 },
      segments: [segment],
    };
    return { update, values: variable.view, sums: accumulator.view };
  });
  const step = (...which: number[]): StepPlan => ({
    updates: which.map((i) => variables[i]!.update),
    clip: { kind: "none" },
    average: null,
    elements: 4 * which.length,
  });
  return { memory, cpu, variables, step };
}

test.each([0, 1, 2, 3])("a replay that throws after %i steps goes on there the next time", (whole) => {
  const { memory, cpu, variables, step } = scene();
  const copies = new HostCopies(memory, undefined);
  for (const plan of [step(0), step(0, 1), step(1), step(0)]) {
    const entry = copies.launched(copies.toLaunch(plan));
    for (const _ of copies.journal.keep(entry));
  }
  let left = whole;
  const failing = (plan: StepPlan) => {
    if (left-- === 0) throw new Error("no thread");
    return cpu.runSync(plan);
  };
  expect(() => copies.replay(failing)).toThrow("no thread");
  const sums = () => variables.map((variable) => variable.sums[3]);
  // Accumulators count the steps: each gradient is one.
  expect(sums()).toEqual([[0, 1, 2, 2][whole], [0, 0, 1, 2][whole]]);
  copies.replay((plan) => cpu.runSync(plan));
  expect(sums()).toEqual([3, 2]);
  // Nothing is left to do.
  copies.replay(() => expect.fail("a step was done again"));
});
