// Slots and variables that are gone while what belongs to them lives on a device: their memory is nobody else's until a
// lost device could not leave it needed.
import { Adagrad, type Runtime, Variable } from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { Random } from "../../support/random.js";
import { accelerator } from "../accelerators/tested.js";

const size = 3000;
const ones = new Float32Array(size).fill(1);

/** A variable on the device and the same on the CPU, after three steps. */
async function trained(runtime: Runtime, sparseEma: "eager" | "lazy") {
  const random = new Random(1);
  const values = Float32Array.from(random.values(size));
  const [variable, same] = (["auto", "cpu"] as const).map((device) => {
    return new Variable(values, { shape: [size / 10, 10], device, runtime });
  }) as [Variable, Variable];
  const [optimizer, other] = [variable, same].map(
    () => new Adagrad({ learningRate: 0.1, useEma: true, emaOverwriteFrequency: 2, sparseEma, runtime }),
  ) as [Adagrad, Adagrad];
  const step = async (...both: readonly (readonly [Adagrad, Variable])[]) => {
    const indices = random.indices(40, size / 10, false);
    const slices = { indices, values: Float32Array.from(random.values(400)) };
    for (const [by, of] of both) await by.applyGradients([[slices, of]]);
  };
  for (let s = 0; s < 3; s++) await step([optimizer, variable], [other, same]);
  return { variable, same, optimizer, other, step };
}

/** Takes the memory that was given back, if it was. */
const takers = (runtime: Runtime) =>
  Array.from({ length: 4 }, () => new Variable(ones, { runtime, device: "cpu" }));

const averages = accelerator.cannot.lazy === undefined ? (["eager", "lazy"] as const) : (["eager"] as const);

describe("arrays that are released", () => {
  test.each(averages)("slots go before the device is lost, %s averages", async (sparseEma) => {
    const { runtime, device } = await accelerator.troubled();
    const { variable, same, optimizer, other, step } = await trained(runtime, sparseEma);
    optimizer.dispose();
    other.dispose();
    const taken = takers(runtime);
    // Others go on with the variable.
    const [next, nextOther] = [0, 1].map(() => new Adagrad({ learningRate: 0.2, runtime })) as [
      Adagrad,
      Adagrad,
    ];
    await step([next, variable], [nextOther, same]);
    device.lose("pulled out");
    await runtime.synchronize();
    for (const { data } of taken) expect(data).toEqual(ones);
    expect(variable.data).toEqual(same.data);
    await runtime.close();
  });

  test("the variable goes before its slots, and all of it before the device", async () => {
    const { runtime, device } = await accelerator.troubled();
    const { variable, optimizer } = await trained(runtime, "eager");
    variable.dispose();
    const first = takers(runtime);
    optimizer.dispose();
    const taken = [...first, ...takers(runtime)];
    device.lose("pulled out");
    await runtime.synchronize();
    for (const { data } of taken) expect(data).toEqual(ones);
    await runtime.close();
  });

  test("their memory comes back when everything is home", async () => {
    const { runtime } = await accelerator.troubled();
    const before = runtime.placement().deviceBytes;
    let memoryBytes = 0;
    for (let round = 0; round < 12; round++) {
      const { variable, same, optimizer, other } = await trained(runtime, "eager");
      optimizer.dispose();
      other.dispose();
      await runtime.synchronize();
      expect(variable.data).toEqual(same.data);
      variable.dispose();
      same.dispose();
      if (round === 3) memoryBytes = runtime.memoryBytes;
    }
    expect(runtime.memoryBytes).toBe(memoryBytes);
    // Buffers of gradients stay.
    expect(runtime.placement().deviceBytes - before).toBeLessThan(4 << 20);
    await runtime.close();
  });
});
