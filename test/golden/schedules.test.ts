import { readFileSync } from "node:fs";
import { deserializeSchedule, OptionError, PiecewiseConstantDecay, serializeSchedule } from "@shardgrad/core";
import { describe, expect, it } from "vitest";

type Recorded = number | "NaN" | "Infinity" | "-Infinity";
interface Point {
  step: number;
  value: Recorded;
}
interface ScheduleCase {
  name: string;
  match: "exact" | "transcendental";
  rtol: number;
  class_name: string;
  serialized: { class_name: string; config: Record<string, unknown> };
  arguments: Record<string, unknown>;
  get_config: Record<string, unknown>;
  points: Point[];
  float_step_points: Point[];
}
interface ErrorCase {
  name: string;
  arguments?: Record<string, unknown>;
  error: { message: string; origin: "keras" | "python" | "tensorflow" } | null;
}

function load<T>(file: string): T[] {
  return JSON.parse(readFileSync(new URL(`./data/${file}`, import.meta.url), "utf8")).cases;
}

const cases = load<ScheduleCase>("schedules.json");
const SMALLEST_NORMAL = 2 ** -126;

/** Whether a rate is the recorded one; the recorded `atol` is not needed, but TensorFlow flushes denormals. */
function agrees(actual: number, recorded: number, { match, rtol }: ScheduleCase): boolean {
  if (Object.is(actual, recorded)) return true;
  if (match === "exact") return false;
  if (recorded === 0) return Math.abs(actual) < SMALLEST_NORMAL;
  return Math.abs(actual - recorded) <= rtol * Math.abs(recorded);
}

function mismatches(golden: ScheduleCase, points: Point[], castStep: (step: number) => number): string[] {
  const schedule = deserializeSchedule(golden.serialized);
  return points
    .map(({ step, value }) => ({ step, recorded: Number(value), actual: schedule.call(castStep(step)) }))
    .filter(({ recorded, actual }) => !agrees(actual, recorded, golden))
    .map(({ step, recorded, actual }) => `step ${step}: ${actual} instead of ${recorded}`);
}

describe.each(cases)("schedule $name", (golden) => {
  it("gives the recorded rate at every integer step", () => {
    expect(golden.points.length).toBeGreaterThan(50);
    expect(mismatches(golden, golden.points, (step) => step)).toEqual([]);
  });

  it("gives the recorded rate at every float32 step", () => {
    expect(mismatches(golden, golden.float_step_points, Math.fround)).toEqual([]);
  });

  it("gives float32 numbers", () => {
    const schedule = deserializeSchedule(golden.serialized);
    for (const { step } of golden.points) {
      expect(schedule.call(step)).toBe(Math.fround(schedule.call(step)));
    }
  });

  it("has the recorded config, keys in order, after a round trip too", () => {
    const schedule = deserializeSchedule({ class_name: golden.class_name, config: golden.arguments });
    expect(JSON.stringify(schedule.getConfig())).toBe(JSON.stringify(golden.get_config));
    expect(serializeSchedule(schedule)).toEqual(golden.serialized);
    const again = deserializeSchedule(serializeSchedule(schedule));
    expect(JSON.stringify(serializeSchedule(again))).toBe(JSON.stringify(golden.serialized));
  });
});

describe("every class", () => {
  it("has cases", () => {
    expect([...new Set(cases.map((golden) => golden.class_name))].sort()).toEqual([
      "CosineDecay",
      "CosineDecayRestarts",
      "ExponentialDecay",
      "InverseTimeDecay",
      "PiecewiseConstantDecay",
      "PolynomialDecay",
    ]);
  });

  it("is within one float32 rounding of TensorFlow at almost every point", () => {
    const all = cases.flatMap((golden) => {
      const schedule = deserializeSchedule(golden.serialized);
      return golden.points.map(({ step, value }) => Object.is(schedule.call(step), Number(value)));
    });
    expect(all.filter((same) => !same).length).toBeLessThan(all.length / 100);
  });
});

describe("schedules that config.json and schedule_driven.json were recorded with", () => {
  type Holder = { constructor: { learning_rate?: unknown }; config: { learning_rate: unknown } };
  it.each(["config.json", "schedule_driven.json"])("%s", (file) => {
    const serialized = load<Holder>(file)
      .map((golden) => golden.config.learning_rate)
      .filter((rate) => typeof rate === "object" && rate !== null) as ScheduleCase["serialized"][];
    expect(serialized.length).toBeGreaterThan(0);
    for (const form of serialized) {
      const before = structuredClone(form);
      expect(serializeSchedule(deserializeSchedule(form))).toEqual(before);
      expect(form).toEqual(before);
    }
  });
});

describe("errors", () => {
  const withMessage = (message: string) => expect.objectContaining({ message });
  const errors = load<ErrorCase>("errors.json");
  const piecewise = errors.filter((golden) => golden.name.startsWith("schedule_PiecewiseConstantDecay"));

  it.each(piecewise)("$name", (golden) => {
    const make = () => PiecewiseConstantDecay.fromConfig(golden.arguments!);
    expect(make).toThrow(OptionError);
    if (golden.error?.origin === "keras") expect(make).toThrow(withMessage(golden.error.message));
  });

  it("has the three cases of PiecewiseConstantDecay", () => {
    expect(piecewise).toHaveLength(3);
  });

  it("deserialize_unknown_schedule", () => {
    const golden = errors.find(({ name }) => name === "deserialize_unknown_schedule")!;
    const unknown = () => deserializeSchedule({ class_name: "Nope", config: {} });
    expect(unknown).toThrow(OptionError);
    expect(unknown).toThrow(withMessage(golden.error!.message));
  });

  it("deserialize_without_class_name", () => {
    // @ts-expect-error: no class_name
    expect(() => deserializeSchedule({ config: {} })).toThrow(OptionError);
  });
});
