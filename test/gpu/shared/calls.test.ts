// Whichever call of the driver fails in the midst of training: a line says so, and the CPU goes on with the same bits.
import { describe, expect, test } from "vitest";
import { accelerator, heard, lost, opened, runtimeOn } from "../accelerators/tested.js";
import { expectNothingLeft } from "./leaks.js";
import { Model } from "./model.js";

/** Eight steps; the call fails after so many others. Rare calls are told from the start on. */
async function train(call: string, after: number, mode: "async" | "sync", isRare: boolean) {
  const runtime = runtimeOn();
  const events = heard(runtime);
  const model = new Model(runtime);
  if (isRare) await runtime.ready();
  else await model.steps(3);
  accelerator.fail(call, after);
  await model.step(isRare ? "async" : mode);
  await model.steps(4, mode);
  await runtime.synchronize();
  model.expectSame(`${call} after ${after}, ${mode}`);
  expect(model.optimizer.iterations).toBe(isRare ? 5 : 8);
  await runtime.close();
  model.expectSame("closed");
  return events;
}

describe(`a call of the driver that fails (${accelerator.kind})`, () => {
  expectNothingLeft();

  const { calls, failure } = accelerator;
  const regular = calls.filter(({ rare }) => !rare).map(({ name }) => name);
  const rare = calls.filter((call) => call.rare).map(({ name }) => name);

  describe.each(["async", "sync"] as const)("%s steps", (mode) => {
    test.each(regular.flatMap((call) => [0, 1, 4].map((after) => ({ call, after }))))(
      "$call, after $after others: the device is lost",
      async ({ call, after }) => {
        const events = await train(call, after, mode, false);
        expect(accelerator.failed).toBe(true);
        expect(events).toEqual(lost(failure.source));
      },
    );

    test.each(rare.flatMap((call) => [0, 2].map((after) => ({ call, after }))))(
      "$call, after $after others, if there are so many: lost or not, no bit changes",
      async ({ call, after }) => {
        const events = await train(call, after, mode, true);
        if (after === 0) expect(accelerator.failed).toBe(true);
        if (events.length > 1) expect(events).toEqual(lost(failure.source));
        else expect(events).toEqual(opened());
      },
    );
  });
});
