// A device that was asked for by name and cannot be had: one line says why, and the CPU computes.
import { Runtime } from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { warningsOf } from "../../support/warnings.js";
import { accelerator, heard, opened, runtimeOn } from "../accelerators/tested.js";
import { expectNothingLeft } from "./leaks.js";
import { Model } from "./model.js";

const { absent, kind, options } = accelerator;

describe.each(Object.keys(absent))(`no device (${kind}): %s`, (what) => {
  expectNothingLeft();
  const { prepare, reason } = absent[what]!;

  test("the event and the placement say why, steps are the CPU's, and it can be had later", async () => {
    const runtime = runtimeOn(prepare());
    const events = heard(runtime);
    const model = new Model(runtime);
    await model.step();
    await model.step("sync");
    await model.step();
    model.expectSame();
    expect(model.devices).toEqual(["inline", "inline", "inline"]);
    const { device, reasons, deviceBytes } = runtime.placement();
    expect({ device, deviceBytes }).toEqual({ device: null, deviceBytes: 0 });
    expect(reasons).toEqual([expect.stringMatching(reason)]);
    expect(reasons[0]).not.toContain("\n");
    expect(events).toEqual([`${kind} to cpu: ${reasons[0]}`]);
    await runtime.close();

    accelerator.reset();
    const later = runtimeOn();
    const laterEvents = heard(later);
    await later.ready();
    expect(laterEvents).toEqual(opened());
    await later.close();
  });

  test("where nobody listens, it is a warning", async () => {
    const runtime = new Runtime({ threads: 0, ...options, ...prepare() });
    const warnings = await warningsOf(() => runtime.ready());
    expect(warnings).toEqual([`The device "${kind}" is not used: ${runtime.placement().reasons[0]}`]);
    await runtime.close();
  });
});
