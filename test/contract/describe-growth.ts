import type { Runtime } from "@shardgrad/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import type { DTypeName, ReferenceGradient } from "../support/reference.js";
import { Twin } from "../support/twin.js";
import { type DeviceArithmetic, type MakeRuntime, meanTolerance } from "./describe-device.js";

/** What a step on a table that has grown must do on every device, against a reference that was never split. */
export function describeGrowth(
  name: string,
  makeRuntime: MakeRuntime,
  { meansInFloat32 = false }: DeviceArithmetic = {},
): void {
  describe(`${name}, tables that have grown`, () => {
    let runtime: Runtime;
    beforeAll(async () => {
      runtime = makeRuntime({ arenaBytes: 1024 * 1024 });
      await runtime.ready();
    });
    afterAll(() => runtime.close());

    const width = 16;
    const slices = (random: Random, rows: number): ReferenceGradient => {
      const indices = random.indices(400, rows, false);
      // The last rows of old segments and the first of new ones.
      indices.push(99, 100, rows - 1, 0, 99);
      return { indices, values: random.values(indices.length * width) };
    };

    /** Grows in steps, trains in between, ends smaller. */
    async function grow(twin: Twin, random: Random, check: () => void): Promise<void> {
      const dense = (rows: number): ReferenceGradient => ({ dense: random.values(rows * width) });
      for (const [i, rows] of [120, 1000, 9000, 9001, 20_000, 700].entries()) {
        await twin.step([slices(random, twin.oracles[0]!.shape[0]!)], { mode: i % 2 ? "sync" : "async" });
        await twin.resize(0, rows, { added: (count) => random.values(count) });
        await twin.step([i % 2 ? dense(rows) : slices(random, rows)]);
        check();
      }
    }

    function twinOf(options: ConstructorParameters<typeof Twin>[1], dtype: DTypeName = "float32") {
      const random = new Random(7);
      const twin = new Twin(runtime, { learningRate: 0.1, ...options });
      twin.add([101, width], random.values(101 * width), dtype);
      return { random, twin };
    }

    test.each(["float32", "float64", "float16"] as const)("%s", async (dtype) => {
      const averages = { useEma: true, emaMomentum: 0.9, emaOverwriteFrequency: 3 };
      const { random, twin } = twinOf({ ...averages, duplicateIndices: "perRow" }, dtype);
      let most = 0;
      await grow(twin, random, () => {
        twin.expectSame();
        most = Math.max(most, twin.variables[0]!.segments.length);
      });
      expect(most).toBeGreaterThan(3);
      twin.dispose();
    });

    test("one accumulator a row", async () => {
      const { random, twin } = twinOf({ accumulator: "rowwise", clipvalue: 1 });
      await grow(twin, random, () => (meansInFloat32 ? twin.expectClose(meanTolerance) : twin.expectSame()));
      twin.dispose();
    });

    // The sums of squares are taken segment by segment.
    test.each([{ clipnorm: 2 }, { globalClipnorm: 2 }])("%o, within 1e-5", async (clip) => {
      const { random, twin } = twinOf(clip);
      await grow(twin, random, () => twin.expectClose({ rtol: 1e-5, atol: 1e-6 }));
      twin.dispose();
    });
  });
}
