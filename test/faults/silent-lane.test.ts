import { CpuDevice, LaneLostError, MemoryPool, type StepPlan, type UpdatePlan } from "@shardgrad/workers";
import { expect, test } from "vitest";

function thrownNow(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** A dense step over ones, by hand: variable, accumulator and gradient lie one after another. */
function plan(memory: MemoryPool, count: number): { plan: StepPlan; variable: Float32Array } {
  const home = memory.reserve(4 * count);
  const arrays = [0, 0, 1].map((value) => {
    const block = memory.allocateAt(home, 4 * count);
    const view = memory.view(block, "float32") as Float32Array;
    return { block, view: view.fill(value) };
  });
  const [variable, accumulator, gradient] = arrays.map(({ block }) => block.offset) as [
    number,
    number,
    number,
  ];
  const segment = { memory: home.arena.id, start: 0, count, variable, accumulator, average: 0 };
  const update = {
    operation: "adagrad",
    dtype: "float32",
    rowSize: 1,
    pin: 0,
    perRow: false,
    rowwise: false,
  } as const;
  return {
    plan: {
      updates: [
        {
          ...update,
          segments: [
            {
              ...segment,
              gradient: { kind: "dense", offset: gradient },
              lazy: 0,
              versions: 0,
              versionMask: 0,
            },
          ],
          learningRate: 1,
          epsilon: 0,
        },
      ],
      clip: { kind: "none" },
      average: null,
      elements: count,
    },
    variable: arrays[0]!.view,
  };
}

test("a synchronous step gives up a lane that ended in silence; the next step has a new one", async () => {
  const lost: number[] = [];
  let device: CpuDevice | undefined;
  const memory = new MemoryPool(undefined, (arena) => device?.attach(arena));
  const options = { threads: 2, inlineThreshold: 0, kernels: "auto", patience: 200 } as const;
  device = new CpuDevice(options, memory, { laneLost: (lane) => lost.push(lane) });
  memory.ensureArena();
  await device.ready();
  const { plan: step, variable } = plan(memory, 40_000);
  // No turn of the event loop between: this thread cannot learn that the other one has ended.
  const ended = device.terminateLane(1);
  const blocked = performance.now() + 100;
  while (performance.now() < blocked);
  expect(() => device.runSync(step)).toThrow(LaneLostError);
  // Lane 0 is the calling thread, which did its half: 1 / sqrt(1).
  expect([variable[0], variable[39_999]]).toEqual([-1, 0]);
  await ended;
  await device.run(step);
  expect(variable[39_999]).toBe(-1);
  expect(lost).toEqual([1]);
  await device.close();
});

/** A device of two lanes, and how to end lane 1 while this thread is blocked: it cannot learn of it. */
async function twoLanes(patience: number) {
  let device: CpuDevice | undefined;
  const memory = new MemoryPool(undefined, (arena) => device?.attach(arena));
  const options = { threads: 2, inlineThreshold: 0, kernels: "auto", patience } as const;
  device = new CpuDevice(options, memory, { laneLost() {} });
  memory.ensureArena();
  await device.ready();
  const endSilently = () => {
    const ended = device.terminateLane(1);
    const blocked = performance.now() + 100;
    while (performance.now() < blocked);
    return ended;
  };
  return { device, memory, endSilently };
}

/** The same update, of the segment as a whole, on one lane; in a memory that nobody has, where that is said. */
function on(lane: number, update: UpdatePlan, isBroken = false): UpdatePlan {
  const segments = update.segments.map((segment) => ({
    ...segment,
    count: 1000,
    memory: isBroken ? 99 : segment.memory,
  }));
  return { ...update, pin: lane, segments };
}

test("at a barrier, too: a synchronous step does not wait for ever", async () => {
  const { device, memory, endSilently } = await twoLanes(200);
  const { plan: dense, variable } = plan(memory, 40_000);
  const step: StepPlan = { ...dense, clip: { kind: "globalNorm", limit: 1e6 } };
  const ended = endSilently();
  const error = thrownNow(() => device.runSync(step));
  expect(error).toBeInstanceOf(LaneLostError);
  const { lane, damage } = error as LaneLostError;
  expect([lane, damage.map(({ state }) => state)]).toEqual([1, ["notApplied"]]);
  expect(variable.every((value) => value === 0)).toBe(true);
  await ended;
  await device.run(step);
  expect(variable[39_999]).toBe(-1);
  await device.close();
});

test("until such a lane has ended, synchronous steps are refused and others wait", async () => {
  const { device, memory, endSilently } = await twoLanes(200);
  const { plan: step, variable } = plan(memory, 40_000);
  void endSilently();
  expect(() => device.runSync(step)).toThrow(LaneLostError);
  variable.fill(0);
  const refused = thrownNow(() => device.runSync(step));
  expect([refused instanceof LaneLostError, (refused as LaneLostError).damage]).toEqual([true, []]);
  expect(variable.every((value) => value === 0)).toBe(true);
  await device.run(step);
  expect(variable.every((value) => value !== 0)).toBe(true);
  device.runSync(step);
  await device.close();
});

// Longer than the test may take: who waited for it would fail.
const LONG = 90_000;

test("a lane that fails says so itself: a synchronous step does not have to wait", async () => {
  const { device, memory } = await twoLanes(LONG);
  const { plan: dense, variable } = plan(memory, 40_000);
  const [update] = dense.updates as [UpdatePlan];
  const broken = { ...dense, updates: [on(0, update), on(1, update, true)] };
  const error = thrownNow(() => device.runSync(broken));
  expect(error).toBeInstanceOf(LaneLostError);
  expect((error as LaneLostError).damage).toMatchObject([
    { update: 0, state: "applied" },
    { update: 1, state: "unknown" },
  ]);
  expect([variable[0], variable[999], variable[1000]]).toEqual([-1, -1, 0]);
  await device.run(dense);
  expect(variable[39_999]).toBe(-1);
  await device.close();
});

test("the calling thread's own share fails: the others are waited for, and the error says what is done", async () => {
  const { device, memory } = await twoLanes(LONG);
  const { plan: dense, variable } = plan(memory, 40_000);
  const [update] = dense.updates as [UpdatePlan];
  const broken = { ...dense, updates: [on(0, update, true), on(1, update)] };
  const error = thrownNow(() => device.runSync(broken));
  expect(error).toBeInstanceOf(LaneLostError);
  expect((error as LaneLostError).cause).toBeInstanceOf(TypeError);
  expect((error as LaneLostError).damage).toMatchObject([
    { update: 0, state: "unknown" },
    { update: 1, state: "applied" },
  ]);
  expect(variable[999]).toBe(-1);
  variable.fill(0);
  device.runSync(dense);
  expect(variable.every((value) => value !== 0)).toBe(true);
  await device.close();
});

test("the room of such a step is nobody else's before the lane has ended", async () => {
  let device: CpuDevice | undefined;
  const memory = new MemoryPool(undefined, (arena) => device?.attach(arena));
  const options = { threads: 2, inlineThreshold: 0, kernels: "auto", patience: 200 } as const;
  device = new CpuDevice(options, memory, { laneLost() {} });
  memory.ensureArena();
  await device.ready();
  const count = 40_000;
  const { plan: dense } = plan(memory, count);
  const arena = memory.arenas[0]!;
  const indices = arena.allocate(4 * count)!.offset;
  const update = dense.updates[0]!;
  const segments = update.segments.map((segment) => {
    const values = segment.gradient.kind === "dense" ? segment.gradient.offset : 0;
    return { ...segment, gradient: { kind: "slices", indices, values, count } as const };
  });
  const step = { ...dense, updates: [{ ...update, segments }] };
  const room = () => {
    const block = arena.allocate(1)!;
    arena.release(block);
    return block.offset;
  };
  const before = room();
  const ended = device.terminateLane(1);
  const blocked = performance.now() + 100;
  while (performance.now() < blocked);
  expect(() => device.runSync(step)).toThrow(LaneLostError);
  expect(room()).not.toBe(before);
  await ended;
  await new Promise(setImmediate);
  expect(room()).toBe(before);
  await device.close();
});

test("what ended a thread is the cause of the error", async () => {
  let device: CpuDevice | undefined;
  const memory = new MemoryPool(undefined, (arena) => device?.attach(arena));
  device = new CpuDevice({ threads: 2, inlineThreshold: 0, kernels: "auto" }, memory, { laneLost() {} });
  memory.ensureArena();
  const { plan: step } = plan(memory, 40_000);
  const segments = step.updates[0]!.segments.map((segment) => ({ ...segment, memory: 99 }));
  const broken = { ...step, updates: [{ ...step.updates[0]!, segments }] };
  const error: unknown = await device.run(broken).catch((reason) => reason);
  expect(error).toBeInstanceOf(LaneLostError);
  expect((error as LaneLostError).cause).toBeInstanceOf(TypeError);
  await device.close();
});
