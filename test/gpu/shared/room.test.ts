// Too little memory on the device, and buffers that are too small.
import { Adagrad, Runtime, Variable } from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { Random } from "../../support/random.js";
import { expectSameState, stateOf } from "../../support/state.js";
import { accelerator, heard, lost, opened, runtimeOn } from "../accelerators/tested.js";
import { expectNothingLeft } from "./leaks.js";
import { Model } from "./model.js";

const { cannot, kind, options } = accelerator;
const cpu = new Runtime({ device: "cpu", threads: 0 });
const placed = ({ runtime }: Model) =>
  runtime.placement().variables.map(({ name, device, reason }) => `${name} ${device}: ${reason}`);

describe(`want of memory (${kind})`, () => {
  expectNothingLeft();

  describe.skipIf(cannot.room !== undefined)(
    `where the device tells${cannot.room ? ` (${cannot.room})` : ""}`,
    () => {
      test.each(["async", "sync"] as const)(
        "for nothing at all: all stays on the CPU, the device is kept, %s",
        async (mode) => {
          const { runtime } = await accelerator.troubled({ totalBytes: 1 });
          const events = heard(runtime);
          const model = new Model(runtime);
          await model.step();
          await model.step(mode);
          model.expectSame();
          expect(model.devices).toEqual(["inline", "inline"]);
          expect(placed(model)).toEqual([0, 1, 2, 3].map((i) => `v${i} cpu: the device has no room for it`));
          expect(events).toEqual(opened());
          await runtime.close();
        },
      );

      test.each(["async", "sync"] as const)(
        "for the largest variable: it stays on the CPU, in the same steps, %s",
        async (mode) => {
          const { runtime } = await accelerator.troubled({ bindingBytes: 8 << 20, totalBytes: 40 << 20 });
          const events = heard(runtime);
          const model = new Model(runtime, {
            shapes: [[40, 3], [3_000_000], [1_200_000]],
            optimizer: { useEma: false },
          });
          await model.step();
          await model.step(mode);
          await runtime.synchronize();
          model.expectSame();
          expect(model.devices).toEqual(["hybrid", "hybrid"]);
          expect(placed(model)).toEqual([
            "v0 gpu: the runtime's `device` option",
            "v1 cpu: the device has no room for it",
            "v2 gpu: the runtime's `device` option",
          ]);
          expect(events).toEqual(opened());
          await runtime.close();
        },
      );

      test("for the gradients of one step: that step is the CPU's, the device is kept", async () => {
        // Room for the arrays, not for a gradient beside them.
        const { runtime, device } = await accelerator.troubled({
          bindingBytes: 4 << 20,
          totalBytes: 40 << 20,
        });
        const events = heard(runtime);
        const model = new Model(runtime, { shapes: [[9, 2], [4_000_000]], optimizer: { useEma: false } });
        await model.steps(2);
        await runtime.synchronize();
        model.expectSame();
        expect(model.devices).toEqual(["inline", "inline"]);
        expect(events).toEqual(opened());
        expect(device.launched.length).toBe(0);
        await runtime.close();
      });

      test("for the gradient of a synchronous step: that step is the CPU's, the device is kept", async () => {
        // Room for the table, its accumulator and small gradients, not for a dense one.
        const { runtime } = await accelerator.troubled({ bindingBytes: 4 << 20, totalBytes: 11 << 20 });
        const events = heard(runtime);
        const tables = [runtime, cpu].map((on) => Variable.ones([1000, 1000], { runtime: on }));
        const optimizers = [runtime, cpu].map((on) => new Adagrad({ runtime: on, globalClipnorm: 1 }));
        const devices: string[] = [];
        optimizers[0]!.on("iteration", ({ device }) => devices.push(device));
        const random = new Random(3);
        const rows = () => ({ indices: [3, 999, 3], values: Float32Array.from(random.values(3000)) });
        const both = async (step: (optimizer: Adagrad, table: Variable) => unknown) => {
          for (const i of [0, 1]) await step(optimizers[i]!, tables[i]!);
        };
        for (const gradient of [rows(), Float32Array.from(random.values(1_000_000)), rows(), rows()]) {
          await both((optimizer, table) =>
            gradient instanceof Float32Array
              ? optimizer.applyGradientsSync([[gradient, table]])
              : optimizer.applyGradients([[gradient, table]]),
          );
        }
        await runtime.synchronize();
        const [here, expected] = [0, 1].map((i) => stateOf(optimizers[i]!, [tables[i]!]));
        expectSameState(here!, expected!);
        expect(devices).toEqual([kind, "inline", kind, kind]);
        expect(events).toEqual(opened());
        await runtime.close();
      });
    },
  );

  describe.skipIf(cannot.room === undefined)(`where it does not tell: ${cannot.room}`, () => {
    test.each(["async", "sync"] as const)("the CPU takes over with the same bits, %s steps", async (mode) => {
      const runtime = runtimeOn(options);
      const events = heard(runtime);
      const model = new Model(runtime);
      await model.step();
      accelerator.fail("tensor", 3);
      await model.step(mode);
      await runtime.synchronize();
      model.expectSame();
      expect(events).toEqual(lost("tensor failed as the test told"));
      await runtime.close();
    });
  });
});

describe(`small buffers (${kind})`, () => {
  expectNothingLeft();
  const limits = { bindingBytes: 1024 };
  const shapes = [[12, 300], [12, 30], [5000]];

  test(`a table whose rows are larger than a buffer stays on the CPU${cannot.limits ? ` (${cannot.limits}: it goes)` : ""}`, async () => {
    const { runtime } = await accelerator.troubled(limits);
    const model = new Model(runtime, { shapes });
    await model.steps(3);
    await runtime.synchronize();
    model.expectSame();
    const there = "gpu: the runtime's `device` option";
    const first = cannot.limits ? there : "cpu: a row is larger than a buffer of the device";
    expect(placed(model)).toEqual([`v0 ${first}`, `v1 ${there}`, `v2 ${there}`]);
    expect(model.devices).toEqual(Array(3).fill(cannot.limits ? kind : "hybrid"));
    await runtime.close();
  });
});
