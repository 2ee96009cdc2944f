import { Adagrad, CosineDecay, OptionError, Runtime, Variable } from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { thrownBy } from "../support/outcome.js";

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

const plain = new Adagrad({ learningRate: 0.5, clipnorm: 2, name: "mine", runtime }).getConfig();

describe("what later Keras versions write", () => {
  test.each([
    { weight_decay: null },
    { weight_decay: null, loss_scale_factor: null, gradient_accumulation_steps: null },
    { weight_decay: 0 },
    { gradient_accumulation_steps: 1 },
  ])("is accepted where the extra keys are off: %o", (extra) => {
    expect(Adagrad.fromConfig({ ...plain, ...extra }, { runtime }).getConfig()).toEqual(plain);
  });

  test.each([
    ["weight_decay", 0.004],
    ["loss_scale_factor", 1024],
    ["gradient_accumulation_steps", 4],
  ])("is refused by name where %s is on", async (key, value) => {
    const error = await thrownBy(() => Adagrad.fromConfig({ ...plain, [key]: value }, { runtime }));
    expect(error).toBeInstanceOf(OptionError);
    expect((error as OptionError).argument).toBe(key);
    expect((error as Error).message).toContain(key);
  });

  test("a whole config of Keras 3", () => {
    const keras3 = {
      name: "adagrad",
      learning_rate: 0.0010000000474974513,
      weight_decay: null,
      clipnorm: null,
      global_clipnorm: null,
      clipvalue: null,
      use_ema: false,
      ema_momentum: 0.99,
      ema_overwrite_frequency: null,
      loss_scale_factor: null,
      gradient_accumulation_steps: null,
      initial_accumulator_value: 0.1,
      epsilon: 1e-7,
    };
    const optimizer = Adagrad.fromConfig(keras3, { runtime });
    expect(optimizer.name).toBe("adagrad");
    expect(optimizer.learningRate).toBe(Math.fround(0.001));
  });
});

describe("wrappers", () => {
  test("{ class_name, config }", () => {
    const wrapped = { class_name: "Adagrad", config: plain };
    expect(Adagrad.fromConfig(wrapped, { runtime }).getConfig()).toEqual(plain);
  });

  test("of Keras 3, with its module and registered name", () => {
    const wrapped = {
      module: "keras.optimizers",
      class_name: "Adagrad",
      config: plain,
      registered_name: null,
    };
    expect(Adagrad.fromConfig(wrapped, { runtime }).getConfig()).toEqual(plain);
  });

  test("of a schedule, as Keras 3 writes it", () => {
    const learning_rate = {
      module: "keras.optimizers.schedules",
      class_name: "CosineDecay",
      config: { initial_learning_rate: 0.1, decay_steps: 10, alpha: 0, name: "CosineDecay" },
      registered_name: null,
    };
    const { learning_rate: written } = Adagrad.fromConfig(
      { ...plain, learning_rate },
      { runtime },
    ).getConfig() as {
      learning_rate: { class_name: string };
    };
    expect(written.class_name).toBe("CosineDecay");
  });

  test("of another class are refused", async () => {
    const error = await thrownBy(() =>
      Adagrad.fromConfig({ class_name: "Adam", config: plain }, { runtime }),
    );
    expect(error).toBeInstanceOf(OptionError);
    expect((error as Error).message).toContain("Adam");
  });
});

test("what is no config is refused", () => {
  for (const wrong of [null, 5, "Adagrad", []]) {
    expect(() => Adagrad.fromConfig(wrong as never, { runtime })).toThrow(OptionError);
  }
});

test("a config goes through JSON", () => {
  const learningRate = new CosineDecay({ initialLearningRate: 0.1, decaySteps: 10 });
  const config = new Adagrad({ learningRate, useEma: true, runtime }).getConfig();
  const again = Adagrad.fromConfig(JSON.parse(JSON.stringify(config)), { runtime });
  expect(again.getConfig()).toEqual(config);
});

test("our own option survives, and Keras' keys stay exactly Keras'", () => {
  const config = new Adagrad({ duplicateIndices: "perRow", runtime }).getConfig();
  const again = Adagrad.fromConfig(JSON.parse(JSON.stringify(config)), { runtime });
  expect(again.getConfig()).toEqual(config);
  const table = new Variable([[0]], { runtime });
  again.applyGradientsSync([[{ indices: [0, 0], values: [[3], [4]] }, table]]);
  expect(again.accumulators[0]!.toArray()).toEqual([[Math.fround(49 + Math.fround(0.1))]]);
});

test("state is not part of the config", async () => {
  const optimizer = new Adagrad({ runtime });
  optimizer.iterations = 5;
  expect(Adagrad.fromConfig(optimizer.getConfig(), { runtime }).iterations).toBe(0);
});
