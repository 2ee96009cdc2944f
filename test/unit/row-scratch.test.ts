import type { SegmentGradient, StepPlan, UpdatePlan } from "@shardgrad/workers";
import { expect, test } from "vitest";
import { lower } from "../../packages/workers/dist/plan/lower.js";

/** Room that is taken near a memory lies far outside of it. */
const FAR = 2 ** 33;

const all = { memory: 0, values: 64, count: 8, indices: 128 };
const together: SegmentGradient = { kind: "slices", indices: 0, values: 0, count: 8, all };
const own: SegmentGradient = { kind: "slices", indices: 256, values: 512, count: 8 };

function update(dtype: "float32" | "float16", gradient: SegmentGradient): UpdatePlan {
  const place = { memory: 0, start: 0, count: 100, variable: 0, accumulator: 0, average: 0, lazy: 0 };
  return {
    ...{ operation: "adagrad", dtype, rowSize: 1, pin: 0, learningRate: 1, epsilon: 0 },
    ...{ perRow: false, rowwise: false },
    segments: [{ ...place, versions: 0, versionMask: 0, gradient }],
  };
}

test("row kernels that reach one memory get room in it, whatever room others of the step have", () => {
  const taken: string[] = [];
  const scratch = {
    take: () => taken.push("there"),
    takeNear: () => FAR + taken.push("near"),
    rowsBytes: () => 1000,
    distance: () => 0,
  };
  const updates = [update("float32", together), update("float16", own)];
  const plan: StepPlan = { updates, clip: { kind: "none" }, average: null, elements: 16 };
  const writer = lower(plan, 1, scratch);
  expect(taken).toEqual(["near", "there"]);
  const program = [...writer.encode(new Float64Array(writer.length))];
  expect(program.filter((number) => number >= FAR)).toEqual([FAR + 1]);
});
