// A device that goes away, at any moment: nothing is lost, training goes on on the CPU with the same bits, it is told.
import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Troubled } from "../accelerators/contract.js";
import { accelerator, heard, lost, opened, runtimeOn } from "../accelerators/tested.js";
import { expectNothingLeft } from "./leaks.js";
import { Model } from "./model.js";

const { kind } = accelerator;

/** A model on a device that has done three steps. */
async function trained(mode: "async" | "sync" = "async") {
  const { runtime, device } = await accelerator.troubled();
  const events = heard(runtime);
  const model = new Model(runtime);
  await model.step();
  await model.steps(2, mode);
  return { runtime, device, events, model };
}

const moments: Record<string, (device: Troubled) => void> = {
  "between two steps": (device) => device.lose("pulled out"),
  "between two steps, nobody told": (device) => device.lose("pulled out", true),
  "while it launches": (device) => loseAt(device, "launch"),
  "while the step runs": loseInStep,
};

/** Loses the device, with nobody told, before call number `call` of a kind. */
function loseAt(device: Troubled, moment: Parameters<Troubled["before"]>[0], call = 1): void {
  let left = call;
  device.before = (what) => {
    if (what === moment && --left === 0) device.lose("pulled out", true);
  };
}

/** Loses the device when a step is waited for: for its end, or for its norm. */
function loseInStep(device: Troubled): void {
  device.before = (what) => what !== "launch" && device.lose("pulled out", true);
}

describe(`a device that is lost (${kind})`, () => {
  expectNothingLeft();

  describe.each(["async", "sync"] as const)("%s steps", (mode) => {
    test.each(Object.keys(moments))("%s", async (moment) => {
      const { runtime, device, events, model } = await trained(mode);
      moments[moment]!(device);
      await model.steps(2, mode);
      await runtime.synchronize();
      await setImmediate();
      model.expectSame(moment);
      await model.step(mode);
      model.expectSame(`${moment}, later`);
      expect(events).toEqual(lost("pulled out$"));
      expect(runtime.placement()).toMatchObject({
        device: null,
        deviceBytes: 0,
        reasons: [`${kind}: pulled out`],
        variables: Array(4).fill(expect.objectContaining({ device: "cpu", reason: "the device was lost" })),
      });
      await runtime.close();
    });
  });

  test.each([1, 2, 5, 12])("while values come home, at array %i", async (call) => {
    const { runtime, device, events, model } = await trained();
    // Three arrays of each of the four variables.
    loseAt(device, "download", call);
    await runtime.synchronize();
    model.expectSame();
    expect(events).toEqual(lost("pulled out$"));
    await runtime.close();
  });

  test("while a variable is read", async () => {
    const { runtime, device, events, model } = await trained();
    loseAt(device, "download");
    expect(await model.variables[1]!.read()).toEqual(model.expected[1]!.data);
    model.expectSame();
    expect(events).toEqual(lost("pulled out$"));
    await runtime.close();
  });

  test("while rows are gathered", async () => {
    const { runtime, device, events, model } = await trained();
    const rows = [3, 59, 0, 3];
    loseAt(device, "download");
    expect(await model.variables[0]!.gatherAsync(rows)).toEqual(model.expected[0]!.gather(rows));
    model.expectSame();
    expect(events).toEqual(lost("pulled out$"));
    await runtime.close();
  });

  test("while a table is resized", async () => {
    const { runtime, device, events, model } = await trained();
    loseAt(device, "download");
    for (const table of [model.variables[0]!, model.expected[0]!]) await table.resizeRows(70);
    await runtime.synchronize();
    model.expectSame();
    await model.step();
    model.expectSame("later");
    expect(events).toEqual(lost("pulled out$"));
    await runtime.close();
  });

  test("while the runtime is closed", async () => {
    const { runtime, device, events, model } = await trained();
    loseAt(device, "download", 3);
    await runtime.close();
    model.expectSame();
    expect(events).toEqual(lost("pulled out$"));
  });

  test("with steps waiting behind it", async () => {
    const { runtime, device, events, model } = await trained();
    loseInStep(device);
    await Promise.all([model.step(), model.step(), model.step()]);
    await runtime.synchronize();
    model.expectSame();
    expect(events).toEqual(lost("pulled out$"));
    await runtime.close();
  });

  test.each(["async", "sync"] as const)("in a step over it and the CPU with one norm, %s", async (mode) => {
    const { runtime, device } = await accelerator.troubled();
    const events = heard(runtime);
    const model = new Model(runtime, { places: ["cpu", "gpu", "gpu", "cpu"] });
    await model.steps(2);
    loseInStep(device);
    await model.step(mode);
    await runtime.synchronize();
    await model.step(mode);
    await runtime.synchronize();
    model.expectSame();
    expect(model.devices.slice(0, 3)).toEqual(Array(3).fill("hybrid"));
    expect(model.devices[3]).toBe("inline");
    expect(events).toEqual(lost("pulled out$"));
    await runtime.close();
  });

  test.each(["async", "sync"] as const)("for real, %s steps", async (mode) => {
    const runtime = runtimeOn();
    const events = heard(runtime);
    const model = new Model(runtime);
    await model.steps(2);
    await accelerator.loseForReal();
    await model.step(mode);
    await runtime.synchronize();
    model.expectSame();
    expect(events).toEqual(lost(""));
    await runtime.close();
  });
});

describe(`a driver that fails when values come down (${kind})`, () => {
  expectNothingLeft();

  const rows = [3, 59, 0, 3];
  const ways: Record<string, (model: Model) => Promise<unknown>> = {
    "all of them": ({ runtime }) => runtime.synchronize(),
    "one variable": async ({ variables, expected }) =>
      expect(await variables[1]!.read()).toEqual(expected[1]!.data),
    "some rows": async ({ variables, expected }) =>
      expect(await variables[0]!.gatherAsync(rows)).toEqual(expected[0]!.gather(rows)),
    "at the end": ({ runtime }) => runtime.close(),
  };
  test.each(Object.keys(ways))("%s: they come from the journal", async (way) => {
    const runtime = runtimeOn();
    const events = heard(runtime);
    const model = new Model(runtime);
    await model.steps(3);
    accelerator.fail(accelerator.comingDown, 0);
    await ways[way]!(model);
    model.expectSame();
    expect(events).toEqual(lost(accelerator.failure.source));
    await runtime.close();
  });
});

describe(`closing a runtime with work on its device (${kind})`, () => {
  expectNothingLeft();

  const work: Record<string, (model: Model) => Promise<unknown>> = {
    "a step": (model) => model.step(),
    "two steps": (model) => Promise.all([model.step(), model.step()]),
    "a synchronous step": (model) => model.step("sync"),
    "values that come home": ({ runtime }) => runtime.synchronize(),
    "a variable that is read": ({ variables }) => variables[1]!.read(),
    "rows that are gathered": ({ variables }) => variables[0]!.gatherAsync([1, 2]),
  };
  test.each(Object.keys(work))("%s: it ends, everything is home", async (what) => {
    const runtime = runtimeOn();
    const events = heard(runtime);
    const model = new Model(runtime);
    await model.steps(2);
    const ended = work[what]!(model);
    await Promise.all([runtime.close(), ended]);
    model.expectSame();
    expect(events).toEqual(opened());
    expect(runtime.placement()).toMatchObject({ device: null, deviceBytes: 0 });
  });
});
