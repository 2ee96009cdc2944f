import {
  Adagrad,
  ArgumentError,
  DtypeError,
  deserializeSchedule,
  ExponentialDecay,
  IndexedSlices,
  OptionError,
  PiecewiseConstantDecay,
  Runtime,
  ShapeError,
  ShardgradError,
  StateError,
  UnknownVariableError,
  Variable,
} from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { departures } from "../support/departures.js";
import { argumentsOf, camelCase, type GoldenError, golden, ourMessage, revive } from "../support/golden.js";
import { warningsOf } from "../support/warnings.js";

interface ErrorCase {
  readonly name: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly message_prefix_only?: boolean;
  readonly error: GoldenError | null;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
}

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

const cases = golden<ErrorCase>("errors");

const errorClasses: Record<string, new (...args: never[]) => ShardgradError> = {
  ValueError: ArgumentError,
  TypeError: OptionError,
  KeyError: UnknownVariableError,
  RuntimeError: StateError,
};

/** Keras' messages word for word; where only the beginning has a meaning, up to what was received. */
function expectError(thrown: unknown, recorded: ErrorCase): void {
  const { type, message, origin } = recorded.error!;
  expect(thrown).toBeInstanceOf(ShardgradError);
  if (origin !== "keras") return;
  expect(thrown).toBeInstanceOf(errorClasses[type]);
  const expected = ourMessage(message);
  const actual = (thrown as Error).message;
  if (recorded.message_prefix_only) {
    const [beginning] = expected.split(/ (?:Received:|Provided )/) as [string];
    expect(actual.slice(0, beginning.length)).toBe(beginning);
  } else {
    // A number that is whole may be printed as Python does or as JavaScript does.
    expect([expected, message.replaceAll(":0", "")]).toContain(actual);
  }
}

async function outcomeOf(action: () => unknown): Promise<{ thrown: unknown; value: unknown }> {
  try {
    return { thrown: undefined, value: await action() };
  } catch (thrown) {
    return { thrown, value: undefined };
  }
}

function variable(name: string): Variable {
  return new Variable([1, 2], { name, runtime });
}

const a = variable("a");
const b = variable("b");
const c = variable("c");
const w = variable("w");
const ones = Float32Array.of(1, 1);

function adagrad(options: object = {}): Adagrad {
  return new Adagrad({ ...options, runtime });
}

async function built(options: object, ...variables: Variable[]): Promise<Adagrad> {
  const optimizer = adagrad(options);
  await optimizer.applyGradients(variables.map((v) => [ones, v] as const));
  return optimizer;
}

const decay = () => new ExponentialDecay({ initialLearningRate: 0.1, decaySteps: 10, decayRate: 0.9 });

/** What each recorded description does, with our names. */
const actions: Record<string, (recorded: ErrorCase) => unknown> = {
  set_learning_rate_with_schedule: () => {
    adagrad({ learningRate: decay() }).learningRate = 0.5;
  },
  set_lr_alias_with_schedule: () => {
    adagrad({ learningRate: decay() }).lr = 0.5;
  },
  set_schedule_on_float_optimizer: () => {
    adagrad().learningRate = decay() as never;
  },
  set_iterations_after_build: async () => {
    (await built({}, w)).iterations = 5;
  },
  empty_list: () => adagrad().applyGradients([]),
  all_none: () => adagrad().applyGradients([[null, w]]),
  all_none_two: () =>
    adagrad().applyGradients([
      [null, a],
      [null, b],
    ]),
  some_none_warns: () =>
    adagrad().applyGradients([
      [ones, a],
      [null, b],
      [null, c],
    ]),
  some_none_warns_once_when_skipping_aggregation: () =>
    adagrad().applyGradients(
      [
        [ones, a],
        [null, b],
      ],
      { skipGradientsAggregation: true },
    ),
  unknown_variable: async () => (await built({}, a)).applyGradients([[ones, b]]),
  finalize_wrong_count: async () => (await built({ useEma: true }, a)).finalizeVariableValues([a, b]),
  finalize_before_build: () => adagrad({ useEma: true }).finalizeVariableValues([a]),
  compute_gradients_tensor_without_tape: () => adagrad().computeGradients(3 as never, [w]),
  minimize_tensor_without_tape: () => adagrad().minimize(3 as never, [w]),
  gradient_shape_mismatch: () => adagrad().applyGradients([[Float32Array.of(1, 1, 1), w]]),
  gradient_dtype_mismatch: () => adagrad().applyGradients([[Float64Array.of(1, 1), w]]),
  malformed_pairs: () => adagrad().applyGradients([[ones]] as never),
  variable_used_twice_as_generator: () =>
    adagrad().applyGradients(
      (function* () {
        yield [ones, a] as const;
        yield [ones, b] as const;
      })(),
    ),
  schedule_PiecewiseConstantDecay_2_2: piecewise,
  schedule_PiecewiseConstantDecay_1_3: piecewise,
  schedule_PiecewiseConstantDecay_0_1: piecewise,
  deserialize_unknown_schedule: () => deserializeSchedule({ class_name: "Nope", config: {} }),
  deserialize_without_class_name: () => deserializeSchedule({} as never),
  from_config_unknown_key: () => {
    const config = { ...adagrad().getConfig(), bad: 1 };
    return Adagrad.fromConfig(config, { runtime });
  },
};

function piecewise(recorded: ErrorCase): unknown {
  const { boundaries, values } = recorded.arguments as { boundaries: number[]; values: number[] };
  return adagrad({ learningRate: new PiecewiseConstantDecay({ boundaries, values }) });
}

describe("the constructor", () => {
  const known = /^(learning_rate|use_ema|ema_|clip|global_|jit|epsilon|initial|gradient_)/;
  const toOptions = (recorded: ErrorCase) =>
    Object.fromEntries(
      Object.entries(revive(argumentsOf(recorded))).map(([key, value]) => [
        known.test(key) ? camelCase(key) : key, // an unknown key is given, and printed, as it is
        value,
      ]),
    );

  for (const recorded of cases.filter(({ name }) => name.startsWith("constructor_"))) {
    const reason = departures[`errors/${recorded.name}`];
    test.skipIf(reason)(reason ? `${recorded.name} (${reason})` : recorded.name, async () => {
      let outcome: { thrown: unknown; value: unknown } | undefined;
      const warnings = await warningsOf(async () => {
        outcome = await outcomeOf(() => adagrad(toOptions(recorded)));
      });
      if (recorded.error) expectError(outcome!.thrown, recorded);
      else {
        expect(outcome!.thrown).toBeUndefined();
        expect((outcome!.value as Adagrad).getConfig()).toMatchObject(revive(recorded.result!));
      }
      expect(warnings).toEqual(recorded.warnings.map((text) => text.replace(/gradient_\w+/, camelCase)));
    });
  }

  // A config has Keras' own keys, so that the words are Keras' to the letter. (A weight_decay has its own rule.)
  const configs = cases.filter(({ name }) => name.startsWith("constructor_") && !/weight_decay/.test(name));
  for (const recorded of configs) {
    test.skipIf(departures[`errors/${recorded.name}`])(`${recorded.name}, through fromConfig`, async () => {
      let outcome: { thrown: unknown; value: unknown } | undefined;
      const warnings = await warningsOf(async () => {
        outcome = await outcomeOf(() => Adagrad.fromConfig(revive(argumentsOf(recorded)), { runtime }));
      });
      if (recorded.error) expectError(outcome!.thrown, recorded);
      else expect(outcome!.thrown).toBeUndefined();
      expect(warnings).toEqual(recorded.warnings);
    });
  }
});

describe("calls", () => {
  for (const recorded of cases.filter(({ name }) => !name.startsWith("constructor_"))) {
    const reason = departures[`errors/${recorded.name}`];
    test.skipIf(reason)(reason ? `${recorded.name} (${reason})` : recorded.name, async () => {
      let outcome: { thrown: unknown; value: unknown } | undefined;
      const warnings = await warningsOf(async () => {
        outcome = await outcomeOf(() => actions[recorded.name]!(recorded));
      });
      if (recorded.error) expectError(outcome!.thrown, recorded);
      else expect(outcome!.thrown).toBeUndefined();
      expect(warnings).toEqual(recorded.warnings.map(ourMessage));
    });
  }

  test("a gradient that does not fit says in which way", async () => {
    await expect(actions.gradient_shape_mismatch!(cases[0]!)).rejects.toBeInstanceOf(ShapeError);
    await expect(actions.gradient_dtype_mismatch!(cases[0]!)).rejects.toBeInstanceOf(DtypeError);
  });

  test("slices need no dense shape", async () => {
    const slices = new IndexedSlices({ indices: [0], values: [[1]] });
    await adagrad().applyGradients([[slices, new Variable([[1], [2]], { runtime })]]);
  });
});
