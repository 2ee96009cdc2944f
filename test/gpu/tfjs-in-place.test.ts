import { Adagrad, type GradientPair, Runtime, Variable } from "@shardgrad/core";
import { afterEach, describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import { type Tfjs, tfWith } from "../support/tfjs.js";
import { hasTfjsNode } from "../support/tfjs-node.js";
import { Twin } from "../support/twin.js";
import { tensorFlowStandIn } from "./tensorflow-stand-in.js";

/** What runs the ops of TensorFlow by their names. */
interface Executing {
  executeSingleOutput(name: string, ...rest: unknown[]): unknown;
  executeMultipleOutputs(name: string, ...rest: unknown[]): unknown;
}

// In this order: tfjs-node brings copies of the cpu back end's kernels, which take the place of those under the stand-in.
const kinds = ["a stand-in", ...(hasTfjsNode ? ["tfjs-node"] : [])];

describe.each(kinds)("variables that TensorFlow changes in place, with %s", (kind) => {
  const restored: (() => void)[] = [];
  afterEach(() => {
    for (const restore of restored.splice(0)) restore();
  });

  /** A tfjs; with the ops that were run by name, and where one can be made to fail. */
  async function spied() {
    const tf = kind === "tfjs-node" ? await tfWith("tensorflow") : tensorFlowStandIn(await tfWith("cpu")).tf;
    const ops: string[] = [];
    const state = { tf, ops, refuse: (_: string): boolean => false };
    const backend = tf.backend() as unknown as Executing;
    for (const method of ["executeSingleOutput", "executeMultipleOutputs"] as const) {
      const original = backend[method];
      const wrapped = (name: string, ...rest: unknown[]) => {
        ops.push(name);
        if (state.refuse(name)) throw new Error(`${name} failed`);
        return original.call(backend, name, ...rest);
      };
      backend[method] = wrapped;
      restored.push(() => {
        backend[method] = original;
      });
    }
    return state;
  }

  const open = async (tf: Tfjs) => {
    const runtime = new Runtime({ device: "tfjs", tf, threads: 0 });
    await runtime.ready();
    expect(runtime.placement().device?.description).toContain('"tensorflow"');
    return runtime;
  };

  test("a sparse step reads and writes only its rows", async () => {
    const { tf, ops } = await spied();
    const runtime = await open(tf);
    const twin = new Twin(runtime, { learningRate: 0.1 });
    twin.add([30, 3], new Random(1).values(90));
    const gradient = { indices: [4, 9, 4], values: new Random(2).values(9) };
    await twin.step([gradient]);
    ops.length = 0;
    await twin.step([gradient]);
    twin.expectSame();
    const onVariables = ops.filter((name) => /Variable|Resource/.test(name));
    // At the end one row is read that the step has to be done for, and `synchronize` reads all.
    expect(onVariables).toEqual([
      ...["ResourceGather", "ResourceGather", "ResourceScatterUpdate", "ResourceScatterUpdate"],
      ...["ResourceGather", "ReadVariableOp", "ReadVariableOp"],
    ]);
    expect(ops.some((name) => name.startsWith("TensorScatter"))).toBe(false);
    await runtime.close();
  });

  test("dense steps add to accumulators and subtract from variables", async () => {
    const { tf, ops } = await spied();
    const runtime = await open(tf);
    const twin = new Twin(runtime, { learningRate: 0.1, useEma: true, emaOverwriteFrequency: 2 });
    twin.add([7], new Random(1).values(7));
    for (let s = 0; s < 4; s++) await twin.step([{ dense: new Random(s).values(7) }]);
    twin.expectSame();
    expect(ops.filter((name) => name === "AssignAddVariableOp")).toHaveLength(
      ops.filter((name) => name === "AssignSubVariableOp").length,
    );
    expect(ops).toContain("AssignAddVariableOp");
    await runtime.close();
  });

  test("where one of these ops is missing, plain ones do the steps", async () => {
    const state = await spied();
    const before = state.tf.memory().numTensors;
    state.refuse = (name) => name === "ResourceScatterUpdate";
    const runtime = new Runtime({ device: "tfjs", tf: state.tf, threads: 0 });
    await runtime.ready();
    expect(state.tf.memory().numTensors, "nothing is left of the trial").toBe(before);
    state.ops.length = 0;
    const twin = new Twin(runtime, { learningRate: 0.1 });
    twin.add([30, 3], new Random(1).values(90));
    await twin.step([{ indices: [4, 9, 4], values: new Random(2).values(9) }]);
    twin.expectSame();
    expect(runtime.placement().device?.kind).toBe("tfjs");
    expect(state.ops.some((name) => name.startsWith("Resource"))).toBe(false);
    await runtime.close();
  });

  test("an op that fails in the middle of a step: nothing is lost, and no tensor is left", async () => {
    for (const op of ["AssignSubVariableOp", "ResourceScatterUpdate", "ReadVariableOp"]) {
      const state = await spied();
      const before = state.tf.memory().numTensors;
      const runtime = await open(state.tf);
      const lost: string[] = [];
      runtime.on("deviceLost", ({ reason }) => lost.push(reason));
      const twin = new Twin(runtime, { learningRate: 0.1, useEma: true });
      twin.add([7], new Random(1).values(7));
      twin.add([30, 3], new Random(1).values(90));
      const step = () =>
        twin.step([
          { dense: new Random(3).values(7) },
          { indices: [4, 9, 4], values: new Random(2).values(9) },
        ]);
      await step();
      // Not the first of a step, but one in its middle.
      let seen = 0;
      state.refuse = (name) => name === op && ++seen > (op === "AssignSubVariableOp" ? 0 : 1);
      await step();
      state.refuse = () => false;
      await step();
      twin.expectSame(op);
      expect(lost).toEqual([`${op} failed`]);
      await runtime.close();
      expect(state.tf.memory().numTensors, op).toBe(before);
      for (const restore of restored.splice(0)) restore();
    }
  });
});

test.runIf(hasTfjsNode)("on tfjs-node, 1,000 steps on a table hold no more memory than 100", async () => {
  const tf = await tfWith("tensorflow");
  const runtime = new Runtime({ device: "tfjs", tf, threads: 0 });
  const { binding } = tf.backend() as unknown as { binding: { getNumOfTensors(): number } };
  // 4 MiB: a copy that a step left would show.
  const table = Variable.ones([65_536, 16], { runtime });
  const bias = Variable.ones([1000], { runtime });
  const optimizer = new Adagrad({ runtime });
  const pairs: GradientPair[] = [
    [{ indices: [1, 60_000, 1], values: new Float32Array(48).fill(1) }, table],
    [new Float32Array(1000).fill(1), bias],
  ];
  const held = () => ({ tensors: binding.getNumOfTensors(), resident: process.memoryUsage.rss() });
  let early = held();
  for (let s = 0; s < 1100; s++) {
    if (s % 10 === 9) {
      // Variables come and go, too.
      const passing = Variable.ones([65_536], { runtime });
      const once = new Adagrad({ runtime });
      await once.applyGradients([[new Float32Array(65_536).fill(1), passing]]);
      for (const slot of [...once.variables, passing]) (slot as Variable).dispose();
    }
    await optimizer.applyGradients(pairs);
    if (s === 99) early = held();
  }
  const late = held();
  expect(late.tensors).toBe(early.tensors);
  expect(late.resident - early.resident).toBeLessThan(64 << 20);
  await runtime.close();
});
