// Large arrays go to a device and come home in parts, with turns of the event loop between: whatever happens in such a turn,
// no old value mixes with a new one.
import { Adagrad, Runtime, type RuntimeOptions, StaleValuesError, Variable } from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { expectSameState, stateOf } from "../../support/state.js";
import { turnsDuring, turnsOfLoop } from "../../support/turns.js";
import { accelerator } from "../accelerators/tested.js";

const { kind } = accelerator;

/** 6 MB: three parts of 2 MiB, the last one not whole. The ops of tfjs are slow on a processor: fewer there. */
const SIZE = kind === "tfjs" ? 600_001 : 1_500_001;
const VALUES = new Float32Array(SIZE);
for (let i = 0; i < SIZE; i++) VALUES[i] = (i % 1013) / 100;
/** Turns of the event loop after which something happens. */
const MOMENTS = kind === "tfjs" ? [1, 3] : [0, 1, 3, 6, 10];

describe(`arrays that are moved in parts (${kind})`, () => {
  const cpu = new Runtime({ device: "cpu", threads: 0 });
  afterAll(() => cpu.close());

  class Model {
    readonly weights: Variable;
    readonly optimizer: Adagrad;

    constructor(runtime: Runtime) {
      this.weights = new Variable(VALUES, { runtime, name: "weights" });
      this.optimizer = new Adagrad({ learningRate: 0.1, useEma: true, runtime });
    }

    step(s: number, mode: "async" | "sync" = "async"): Promise<void> | void {
      const gradient = new Float32Array(SIZE).fill(s + 1);
      if (mode === "async") return this.optimizer.applyGradients([[gradient, this.weights]]);
      this.optimizer.applyGradientsSync([[gradient, this.weights]]);
    }
  }

  async function models(options: RuntimeOptions = {}) {
    const { runtime, device } = await accelerator.troubled({}, options);
    const [model, same] = [new Model(runtime), new Model(cpu)];
    const both = async (act: (model: Model) => unknown) => {
      for (const each of [model, same]) await act(each);
    };
    const expectSame = async (what: string) => {
      await runtime.synchronize();
      const [actual, expected] = [model, same].map(({ optimizer, weights }) => stateOf(optimizer, [weights]));
      expectSameState(actual!, expected!, what);
    };
    return { runtime, device, model, same, both, expectSame };
  }

  test("the event loop turns while they go up and come home", async () => {
    const { runtime, model, same, both, expectSame } = await models();
    await both(({ optimizer, weights }) => optimizer.build([weights]));
    // The ops of tfjs take arrays as a whole.
    if (kind !== "tfjs") expect(await turnsDuring(async () => model.step(0))).toBeGreaterThanOrEqual(9);
    else await model.step(0);
    await same.step(0);
    expect(await turnsDuring(() => runtime.synchronize())).toBeGreaterThanOrEqual(3);
    await expectSame("home");
    await runtime.close();
  });

  test("what the host writes while a variable goes up is in the step, or refused", async () => {
    const { runtime, model, same, both, expectSame } = await models();
    await both((each) => each.step(0));
    let refused = 0;
    for (const [s, turns] of [...MOMENTS, 40].entries()) {
      await runtime.synchronize();
      await both(({ weights }) => weights.data.fill(s, 0, 10)); // or nothing would go up
      const stepped = model.step(s + 1);
      await turnsOfLoop(turns);
      try {
        model.weights.data[SIZE - 1 - s] = 50;
        same.weights.data[SIZE - 1 - s] = 50;
      } catch (error) {
        expect(error).toBeInstanceOf(StaleValuesError);
        refused++;
      }
      await stepped;
      await same.step(s + 1);
    }
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(MOMENTS.length + 1);
    await expectSame("at the end");
    await runtime.close();
  });

  test.each(MOMENTS)("lost %i turns into coming home", async (turns) => {
    const { runtime, device, both, expectSame } = await models();
    for (const s of [0, 1]) await both((each) => each.step(s));
    const home = runtime.synchronize();
    await turnsOfLoop(turns);
    device.lose("pulled out");
    await home;
    await expectSame(`lost after ${turns}`);
    for (const s of [2, 3]) await both((each) => each.step(s));
    await expectSame("later");
    await runtime.close();
  });

  test.each(MOMENTS)("a synchronous step %i turns into coming home", async (turns) => {
    // Half of them with a journal that is full after the step: it is done again here at once.
    const { runtime, both, model, same, expectSame } = await models(turns % 2 ? {} : { journalBytes: 0 });
    for (const s of [0, 1]) await both((each) => each.step(s));
    const home = [runtime.synchronize(), runtime.synchronize()];
    await turnsOfLoop(turns);
    for (const each of [model, same]) each.step(2, "sync");
    await Promise.all(home);
    await expectSame(`after ${turns}`);
    await both((each) => each.step(3));
    await expectSame("later");
    await runtime.close();
  });

  test.each(MOMENTS)("its optimizer and then it go %i turns into coming home", async (turns) => {
    const { runtime, both, model } = await models();
    await both((each) => each.step(0));
    const other = new Variable(new Float32Array(1000).fill(3), { runtime });
    const home = runtime.synchronize();
    await turnsOfLoop(turns);
    model.optimizer.dispose();
    model.weights.dispose();
    // In the same place, maybe.
    const later = runtime.allocate(SIZE).fill(7);
    await home;
    expect(later.every((value) => value === 7)).toBe(true);
    expect(other.data.every((value) => value === 3)).toBe(true);
    await runtime.close();
  });
});
