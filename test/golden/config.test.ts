import { Adagrad, LearningRateSchedule, Runtime } from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { type GoldenNumber, golden, number, revive } from "../support/golden.js";
import { goldenOptions } from "../support/library.js";

interface ConfigCase {
  readonly name: string;
  readonly constructor: Readonly<Record<string, unknown>>;
  readonly assigned?: number;
  readonly config: Readonly<Record<string, unknown>>;
  readonly key_order?: readonly string[];
  readonly from_config_then_get_config?: Readonly<Record<string, unknown>>;
  readonly optimizer_name?: string;
  readonly learning_rate_property?: GoldenNumber;
  readonly serialize_keras_object?: { readonly class_name: string; readonly config: Record<string, unknown> };
}

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

const cases = golden<ConfigCase>("config");

/** Our config has `name` on top of Keras 2.9.0's keys, as later Keras does. */
function withoutName({ name: _, ...config }: Record<string, unknown>): Record<string, unknown> {
  return config;
}

function create(recorded: ConfigCase): Adagrad {
  const optimizer = new Adagrad({ ...goldenOptions(recorded.constructor), runtime });
  if (recorded.assigned !== undefined) optimizer.learningRate = recorded.assigned;
  return optimizer;
}

describe.each(cases)("$name", (recorded) => {
  test("getConfig", () => {
    const config = create(recorded).getConfig() as Record<string, unknown>;
    expect(withoutName(config)).toEqual(revive(recorded.config));
    expect(config.name).toBe(recorded.optimizer_name ?? "Adagrad");
    if (recorded.key_order) expect(Object.keys(withoutName(config))).toEqual(recorded.key_order);
    JSON.stringify(config); // plain data
  });

  test("fromConfig(getConfig()) gives the same optimizer", () => {
    const config = create(recorded).getConfig();
    const again = Adagrad.fromConfig(config, { runtime });
    expect(again).toBeInstanceOf(Adagrad);
    expect(again.getConfig()).toEqual(config);
    expect(again.iterations).toBe(0);
  });

  test("fromConfig takes what Keras 2.9.0 wrote, and leaves it as it is", () => {
    const written = revive(recorded.config) as Record<string, unknown>;
    const copy = structuredClone(written);
    const optimizer = Adagrad.fromConfig(written, { runtime });
    expect(written).toEqual(copy);
    const expected = recorded.from_config_then_get_config ?? recorded.config;
    expect(withoutName(optimizer.getConfig() as Record<string, unknown>)).toEqual(revive(expected));
    expect(optimizer.name).toBe("Adagrad");
  });

  test.skipIf(recorded.serialize_keras_object === undefined)("fromConfig takes the serialized object", () => {
    const optimizer = Adagrad.fromConfig(revive(recorded.serialize_keras_object!), { runtime });
    expect(withoutName(optimizer.getConfig() as Record<string, unknown>)).toEqual(revive(recorded.config));
  });

  test.skipIf(recorded.learning_rate_property === undefined)("the learning rate reads as recorded", () => {
    // One step of float32 is the tolerance of the schedules (pow of a library against TensorFlow's).
    const rate = create(recorded).learningRate;
    const expected = number(recorded.learning_rate_property!);
    if (Number.isNaN(expected)) expect(rate).toBeNaN();
    else expect(Math.abs(rate - expected)).toBeLessThanOrEqual(2e-6 * Math.abs(expected));
    expect(Math.fround(rate)).toEqual(rate);
  });
});

test("a schedule comes back as its own class", () => {
  for (const recorded of cases) {
    const rate = recorded.config.learning_rate;
    if (typeof rate !== "object" || rate === null) continue;
    const { learning_rate } = Adagrad.fromConfig(recorded.config, { runtime }).getConfig() as {
      learning_rate: { class_name: string };
    };
    expect(learning_rate.class_name).toBe((rate as { class_name: string }).class_name);
    expect(goldenOptions(recorded.constructor).learningRate).toBeInstanceOf(LearningRateSchedule);
  }
});
