import { Runtime } from "@shardgrad/core";
import { expect, test } from "vitest";
import { Random } from "../support/random.js";
import { type Tfjs, tfWith } from "../support/tfjs.js";
import { Twin } from "../support/twin.js";

test("where scatterND adds in any order, slices of a row are added in pairs, in a fixed one", async () => {
  const tf = await tfWith("cpu");
  let scattered = 0;
  const scatterND: Tfjs["scatterND"] = (...values) => {
    scattered++;
    return tf.scatterND(...values);
  };
  // The application's tfjs, with a back end that says it is one on a GPU.
  const onGpu = { ...tf, default: undefined, getBackend: () => "webgpu", scatterND };
  const runtime = new Runtime({ device: "tfjs", tf: onGpu, threads: 0 });
  await runtime.ready();
  expect(runtime.placement().device?.kind).toBe("tfjs");
  scattered = 0;
  for (const duplicateIndices of ["perSlice", "perRow"] as const) {
    for (const accumulator of ["elementwise", "rowwise"] as const) {
      const random = new Random(4);
      const twin = new Twin(runtime, { learningRate: 0.1, duplicateIndices, accumulator });
      twin.add([40, 3], random.values(120));
      // From single slices to 90 of one row.
      const indices = [...random.indices(60, 40, false), ...Array<number>(90).fill(5), 39];
      for (let s = 0; s < 3; s++) await twin.step([{ indices, values: random.values(indices.length * 3) }]);
      twin.expectClose({ rtol: 1e-5, atol: 1e-6 }, `${duplicateIndices} ${accumulator}`);
      twin.dispose();
    }
  }
  expect(scattered).toBe(0);
  await runtime.close();
});
