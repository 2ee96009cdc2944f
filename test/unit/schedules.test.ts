import {
  ArgumentError,
  CosineDecay,
  CosineDecayRestarts,
  deserializeSchedule,
  ExponentialDecay,
  InverseTimeDecay,
  LearningRateSchedule,
  OptionError,
  PiecewiseConstantDecay,
  PolynomialDecay,
  ShardgradError,
  serializeSchedule,
} from "@shardgrad/core";
import { describe, expect, it } from "vitest";

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

const makers: [
  name: string,
  make: (options: object) => LearningRateSchedule,
  good: Record<string, unknown>,
][] = [
  [
    "ExponentialDecay",
    (options) => new ExponentialDecay(options as never),
    { initialLearningRate: 0.1, decaySteps: 10, decayRate: 0.5, staircase: false, name: null },
  ],
  [
    "InverseTimeDecay",
    (options) => new InverseTimeDecay(options as never),
    { initialLearningRate: 0.1, decaySteps: 10, decayRate: 0.5, staircase: false, name: null },
  ],
  [
    "PolynomialDecay",
    (options) => new PolynomialDecay(options as never),
    { initialLearningRate: 0.1, decaySteps: 10, endLearningRate: 0.01, power: 2, cycle: true, name: null },
  ],
  [
    "CosineDecay",
    (options) => new CosineDecay(options as never),
    { initialLearningRate: 0.1, decaySteps: 10, alpha: 0.1, name: null },
  ],
  [
    "CosineDecayRestarts",
    (options) => new CosineDecayRestarts(options as never),
    { initialLearningRate: 0.1, firstDecaySteps: 10, tMul: 3, mMul: 0.5, alpha: 0.1, name: null },
  ],
  [
    "PiecewiseConstantDecay",
    (options) => new PiecewiseConstantDecay(options as never),
    { boundaries: [1, 2], values: [1, 0.5, 0.1], name: null },
  ],
];

describe.each(makers)("%s refuses", (className, make, good) => {
  const numbers = Object.keys(good).filter((key) => typeof good[key] === "number");
  const flags = Object.keys(good).filter((key) => typeof good[key] === "boolean");
  const bad = [Number.NaN, Number.POSITIVE_INFINITY, 1e39, "0.1", null, true, [1], {}, 1n];

  if (numbers.length > 0)
    it("what is not a finite number", () => {
      for (const key of numbers) {
        for (const value of bad) {
          const error = thrownBy(() => make({ ...good, [key]: value }));
          expect(error).toBeInstanceOf(OptionError);
          expect(error).toMatchObject({ argument: key, received: value });
          expect((error as Error).message).toMatch(
            new RegExp(`^\`${key}\`: expected a finite number.*, got `),
          );
        }
      }
    });

  if (flags.length > 0)
    it("what is not a boolean", () => {
      for (const key of flags) {
        for (const value of [0, 1, "true", {}]) {
          expect(thrownBy(() => make({ ...good, [key]: value }))).toMatchObject({
            name: "OptionError",
            argument: key,
          });
        }
      }
    });

  it("a name that is not a string", () => {
    expect(thrownBy(() => make({ ...good, name: 3 }))).toMatchObject({ argument: "name", received: 3 });
  });

  it("an unknown option, by name", () => {
    const error = thrownBy(() => make({ ...good, decay_steps: 10 }));
    expect(error).toMatchObject({ name: "OptionError", argument: "decay_steps", received: 10 });
    expect((error as Error).message).toContain(className);
  });

  it("options that are no object", () => {
    for (const options of [undefined, null, 3, [], "x"]) {
      expect(() => make(options as never)).toThrow(OptionError);
    }
  });

  it("a missing option", () => {
    expect(() => make({})).toThrow(OptionError);
  });

  it("a step that is not a finite number", () => {
    const schedule = make(good);
    for (const step of [Number.NaN, Number.POSITIVE_INFINITY, "1", undefined, 1n]) {
      const error = thrownBy(() => schedule.call(step as number));
      expect(error).toBeInstanceOf(ArgumentError);
      expect(error).toMatchObject({ argument: "step" });
    }
  });

  it("an unknown config key, in Keras' spelling", () => {
    const { config } = serializeSchedule(make(good));
    const form = { class_name: className, config: { ...config, bad_key: 1 } };
    expect(thrownBy(() => deserializeSchedule(form))).toMatchObject({
      name: "OptionError",
      argument: "bad_key",
    });
  });
});

describe("the number of steps", () => {
  it("must be above 0 where 0 would divide by zero", () => {
    for (const steps of [0, -0, -1, 1e-50]) {
      const options = { initialLearningRate: 0.1, decaySteps: steps };
      expect(() => new CosineDecay(options)).toThrow("`decaySteps`: expected a finite number above 0, got");
      expect(() => new InverseTimeDecay({ ...options, decayRate: 0.5 })).toThrow(OptionError);
      expect(() => new CosineDecayRestarts({ initialLearningRate: 0.1, firstDecaySteps: steps })).toThrow(
        OptionError,
      );
    }
  });

  it("may be 0, not negative, in the two schedules where Keras was recorded with 0", () => {
    const options = { initialLearningRate: 0.5, decaySteps: 0, decayRate: 0.5 };
    expect(new ExponentialDecay(options).call(0)).toBeNaN();
    expect(new ExponentialDecay(options).call(1)).toBe(0);
    expect(new PolynomialDecay({ initialLearningRate: 0.5, decaySteps: 0 }).call(3)).toBeNaN();
    expect(() => new ExponentialDecay({ ...options, decaySteps: -1 })).toThrow("at least 0, got -1");
    expect(() => new PolynomialDecay({ initialLearningRate: 0.5, decaySteps: -1 })).toThrow(OptionError);
  });
});

describe("ExponentialDecay", () => {
  it("takes 1 to any power as 1, as C does", () => {
    const schedule = new ExponentialDecay({ initialLearningRate: 0.5, decaySteps: 0, decayRate: 1 });
    expect([-1, 0, 1].map((step) => schedule.call(step))).toEqual([0.5, 0.5, 0.5]);
  });

  it("accepts a zero and a negative rate", () => {
    expect(new ExponentialDecay({ initialLearningRate: 0, decaySteps: 1, decayRate: 0.5 }).call(3)).toBe(0);
    expect(new ExponentialDecay({ initialLearningRate: -1, decaySteps: 1, decayRate: 0.5 }).call(1)).toBe(
      -0.5,
    );
  });
});

describe("PolynomialDecay", () => {
  it("uses one period at step 0 with cycle, and starts again after each multiple", () => {
    const schedule = new PolynomialDecay({
      initialLearningRate: 1,
      decaySteps: 4,
      endLearningRate: 0,
      cycle: true,
    });
    expect([0, 4, 6, 8, 9].map((step) => schedule.call(step))).toEqual([1, 0, 0.25, 0, 0.25]);
  });
});

describe("PiecewiseConstantDecay", () => {
  it("holds each value up to and including its boundary", () => {
    const schedule = new PiecewiseConstantDecay({ boundaries: [3, 6], values: [1, 0.5, 0.25] });
    expect([-9, 0, 3, 3.5, 4, 6, 7, 2 ** 40].map((step) => schedule.call(step))).toEqual([
      1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25,
    ]);
  });

  it("compares integer steps with integer boundaries exactly, above 2 ** 24 too", () => {
    const schedule = new PiecewiseConstantDecay({ boundaries: [2 ** 24 + 1], values: [1, 0.5] });
    expect([2 ** 24 + 1, 2 ** 24 + 2].map((step) => schedule.call(step))).toEqual([1, 0.5]);
  });

  it("truncates boundaries towards zero for an integer step only", () => {
    const schedule = new PiecewiseConstantDecay({ boundaries: [-2.5, 2.5], values: [1, 0.5, 0.25] });
    expect([-2, -2.25, 2, 2.25, 2.75].map((step) => schedule.call(step))).toEqual([1, 0.5, 0.5, 0.5, 0.25]);
  });

  it("passes over a value between equal boundaries", () => {
    const schedule = new PiecewiseConstantDecay({ boundaries: [3, 3], values: [1, 0.5, 0.25] });
    expect([3, 4].map((step) => schedule.call(step))).toEqual([1, 0.25]);
  });

  it("refuses boundaries that decrease", () => {
    expect(() => new PiecewiseConstantDecay({ boundaries: [5, 3], values: [1, 0.5, 0.25] })).toThrow(
      "`boundaries`: expected numbers in increasing order, got [5, 3]",
    );
  });

  it("refuses lists that are none, and items that are not finite, by index", () => {
    expect(() => new PiecewiseConstantDecay({ boundaries: 3 as never, values: [1, 2] })).toThrow(OptionError);
    expect(() => new PiecewiseConstantDecay({ boundaries: [1], values: [1, Number.NaN] })).toThrow(
      "`values[1]`: expected a finite number, got NaN",
    );
    // biome-ignore lint/suspicious/noSparseArray: a hole is no number
    expect(() => new PiecewiseConstantDecay({ boundaries: [1], values: [1, ,] as never })).toThrow(
      OptionError,
    );
  });

  it("words numbers in Keras' message as Python does", () => {
    expect(
      () => new PiecewiseConstantDecay({ boundaries: [1, 2.5], values: [1e-5, 0.0001, 1, 1e16] }),
    ).toThrow(
      expect.objectContaining({
        message:
          "The length of boundaries should be 1 less than the length of values. " +
          "Received: boundaries=[1, 2.5] of length 2, and values=[1e-05, 0.0001, 1.0, 1e+16] of length 4.",
      }),
    );
  });

  it("keeps its lists to itself", () => {
    const boundaries = [3];
    const schedule = new PiecewiseConstantDecay({ boundaries, values: [1, 0.5] });
    boundaries[0] = 100;
    (schedule.getConfig().boundaries as number[])[0] = 100;
    expect(schedule.call(4)).toBe(0.5);
    expect(Object.isFrozen(schedule.boundaries)).toBe(true);
  });
});

describe("CosineDecay", () => {
  it("takes the config of later Keras versions when the warm-up is off", () => {
    const config = { initial_learning_rate: 1, decay_steps: 10, alpha: 0, name: "CosineDecay" };
    const later = { ...config, warmup_target: null, warmup_steps: 0 };
    expect(CosineDecay.fromConfig(later).getConfig()).toEqual(config);
    expect(thrownBy(() => CosineDecay.fromConfig({ ...later, warmup_target: 0.5 }))).toMatchObject({
      name: "OptionError",
      argument: "warmup_target",
      received: 0.5,
    });
  });
});

describe("CosineDecayRestarts", () => {
  it("gives NaN once the periods of a tMul below 1 have ended", () => {
    const schedule = new CosineDecayRestarts({ initialLearningRate: 1, firstDecaySteps: 8, tMul: 0.5 });
    expect(schedule.call(12)).toBeCloseTo(1);
    expect(schedule.call(17)).toBeNaN();
  });

  it("refuses a tMul that is not above 0", () => {
    for (const tMul of [0, -1]) {
      expect(() => new CosineDecayRestarts({ initialLearningRate: 1, firstDecaySteps: 8, tMul })).toThrow(
        "`tMul`: expected a finite number above 0",
      );
    }
  });
});

describe("a schedule of one's own", () => {
  class Reciprocal extends LearningRateSchedule {
    readonly rate: number;
    constructor({ rate }: { rate: number }) {
      super();
      this.rate = rate;
    }
    call(step: number): number {
      return this.rate / (step + 1);
    }
    getConfig() {
      return { rate: this.rate };
    }
  }

  it("goes through serializeSchedule and deserializeSchedule", () => {
    const form = serializeSchedule(new Reciprocal({ rate: 0.5 }));
    expect(form).toEqual({ class_name: "Reciprocal", config: { rate: 0.5 } });
    const again = deserializeSchedule(JSON.parse(JSON.stringify(form)), { customObjects: { Reciprocal } });
    expect(again).toBeInstanceOf(Reciprocal);
    expect(again.call(1)).toBe(0.25);
  });

  it("is found under the name Keras registers it with", () => {
    const form = { class_name: "Mine>Reciprocal", config: { rate: 0.5 } };
    expect(deserializeSchedule(form, { customObjects: { Reciprocal } })).toBeInstanceOf(Reciprocal);
    expect(deserializeSchedule(form, { customObjects: { "Mine>Reciprocal": Reciprocal } })).toBeInstanceOf(
      Reciprocal,
    );
  });

  it("is not found when it is not named", () => {
    expect(() => deserializeSchedule({ class_name: "Reciprocal", config: { rate: 1 } })).toThrow(
      /^Unknown decay: Reciprocal\. /,
    );
    expect(() =>
      deserializeSchedule({ class_name: "constructor", config: {} }, { customObjects: {} }),
    ).toThrow(OptionError);
    expect(() => deserializeSchedule({ class_name: "Custom>ExponentialDecay", config: {} })).toThrow(
      OptionError,
    );
  });

  it("comes before a schedule of the same name here", () => {
    const form = { class_name: "CosineDecay", config: { rate: 2 } };
    expect(deserializeSchedule(form, { customObjects: { CosineDecay: Reciprocal } })).toBeInstanceOf(
      Reciprocal,
    );
  });

  it("may extend one of those here, and keeps its own class", () => {
    class Slow extends ExponentialDecay {
      override call(step: number): number {
        return super.call(step / 2);
      }
    }
    const form = serializeSchedule(new Slow({ initialLearningRate: 0.5, decaySteps: 10, decayRate: 0.5 }));
    expect(form.class_name).toBe("Slow");
    const again = deserializeSchedule(form, { customObjects: { Slow } });
    expect(again).toBeInstanceOf(Slow);
    expect(again.call(20)).toBe(0.25);
  });

  it("has a fromConfig that leaves the config as it was", () => {
    class Greedy extends Reciprocal {
      static override fromConfig(config: Record<string, unknown>): Greedy {
        const { rate } = config;
        delete config.rate;
        return new Greedy({ rate: rate as number });
      }
    }
    const form = { class_name: "Greedy", config: { rate: 0.5 } };
    expect(deserializeSchedule(form, { customObjects: { Greedy } }).call(0)).toBe(0.5);
    expect(form.config).toEqual({ rate: 0.5 });
  });

  it("is refused where it is no class, or makes something else", () => {
    const form = { class_name: "Odd", config: {} };
    for (const Odd of [null, 3, {}, () => 1]) {
      expect(
        thrownBy(() => deserializeSchedule(form, { customObjects: { Odd: Odd as never } })),
      ).toMatchObject({
        argument: "customObjects.Odd",
      });
    }
    const customObjects = { Odd: { fromConfig: () => 3 as never } };
    expect(() => deserializeSchedule(form, { customObjects })).toThrow(OptionError);
  });
});

describe("serializeSchedule and deserializeSchedule", () => {
  it("refuse what is not a schedule, or has no name", () => {
    expect(() => serializeSchedule(0.1 as never)).toThrow(
      "`schedule`: expected a LearningRateSchedule, got 0.1",
    );
    const Nameless = (() =>
      class extends LearningRateSchedule {
        call = () => 1;
        getConfig = () => ({});
      })();
    expect(() => serializeSchedule(new Nameless())).toThrow(ArgumentError);
  });

  it("take the form of later Keras versions", () => {
    const form = {
      module: "keras.optimizers.schedules",
      class_name: "ExponentialDecay",
      config: {
        initial_learning_rate: 0.5,
        decay_steps: 10,
        decay_rate: 0.5,
        staircase: false,
        name: "ExponentialDecay",
      },
      registered_name: null,
      build_config: null,
    };
    const schedule = deserializeSchedule(form);
    expect(schedule).toBeInstanceOf(ExponentialDecay);
    expect(schedule.call(10)).toBe(0.25);
  });

  it("refuse forms that are not whole", () => {
    const forms = [null, undefined, 3, "ExponentialDecay", [], {}, { class_name: "CosineDecay" }];
    for (const form of [...forms, { class_name: 3, config: {} }, { class_name: "CosineDecay", config: [] }]) {
      expect(() => deserializeSchedule(form as never)).toThrow(OptionError);
    }
  });

  it("throw errors that have a code", () => {
    const error = thrownBy(() => deserializeSchedule(3 as never));
    expect(error).toBeInstanceOf(ShardgradError);
    expect(error).toMatchObject({ name: "OptionError", code: "ERR_SHARDGRAD_OPTION" });
  });
});
