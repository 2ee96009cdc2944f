import { Adagrad, type AdagradOptions, type GradientPair, Runtime, Variable } from "@shardgrad/core";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { disposeAll } from "../../support/library.js";
import { Random } from "../../support/random.js";
import { expectSameState, stateOf } from "../../support/state.js";
import { accelerator } from "../accelerators/tested.js";

type Accumulators = readonly NonNullable<AdagradOptions["accumulator"]>[];

/** What can happen to a model: the same happens to one on the CPU, and the bits must be the same. */
type Happening =
  | {
      readonly what: "step";
      readonly mode: "async" | "sync";
      readonly named: readonly boolean[];
      readonly seed: number;
    }
  | { readonly what: "two steps"; readonly seed: number }
  | {
      readonly what: "resize";
      readonly which: number;
      readonly rows: number;
      readonly mode: "async" | "sync";
    }
  | { readonly what: "gather" | "materialize"; readonly which: number }
  | { readonly what: "synchronize" | "read" | "write" | "step elsewhere" }
  | {
      readonly what: "lose";
      readonly at: "now" | "launch" | "download" | "finished";
      readonly calls: number;
    };

const shapes = [[7000], [30, 3], [5], [60, 100]] as const;

const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant("step" as const),
      mode: fc.constantFrom("async" as const, "sync" as const),
      named: fc.array(fc.boolean(), { minLength: shapes.length, maxLength: shapes.length }),
      seed: fc.nat(1000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("two steps" as const), seed: fc.nat(1000) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      what: fc.constantFrom(
        "synchronize" as const,
        "read" as const,
        "write" as const,
        "step elsewhere" as const,
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("resize" as const),
      which: fc.constantFrom(1, 3),
      rows: fc.integer({ min: 5, max: 90 }),
      mode: fc.constantFrom("async" as const, "sync" as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constantFrom("gather" as const, "gather" as const, "materialize" as const),
      which: fc.constantFrom(1, 3),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("lose" as const),
      at: fc.constantFrom("now" as const, "launch" as const, "download" as const, "finished" as const),
      calls: fc.nat(6),
    }),
  },
);

const optionsWith = (accumulators: Accumulators): fc.Arbitrary<AdagradOptions> =>
  fc
    .record({
      learningRate: fc.constant(0.1),
      useEma: fc.boolean(),
      sparseEma: fc.constantFrom("eager" as const, "lazy" as const),
      emaMomentum: fc.constant(0.75),
      emaOverwriteFrequency: fc.constantFrom(null, 2),
      duplicateIndices: fc.constantFrom("perSlice" as const, "perRow" as const),
      accumulator: fc.constantFrom(...accumulators),
      clip: fc.constantFrom({}, { clipvalue: 0.7 }, { clipnorm: 2 }, { globalClipnorm: 2 }),
    })
    .map(({ clip, ...rest }) => ({ ...rest, ...clip }));

interface Model {
  readonly runtime: Runtime;
  readonly variables: readonly Variable[];
  readonly optimizer: Adagrad;
  /** On the same variables, with slots of its own; never on the device. */
  readonly elsewhere: Adagrad;
  readonly norms: (number | undefined)[];
  /** Rows that were asked for. */
  readonly gathered: number[][];
}

function modelOn(runtime: Runtime, given: AdagradOptions, places: readonly ("auto" | "cpu")[]): Model {
  const random = new Random(7);
  const variables = shapes.map((shape, i) => {
    const values = Float32Array.from(random.values(shape.reduce((a: number, b: number) => a * b, 1)));
    return new Variable(values, { shape, device: places[i], name: `v${i}`, runtime });
  });
  const optimizer = new Adagrad({ ...given, runtime });
  const elsewhere = new Adagrad({ learningRate: 0.01, jitCompile: false, runtime });
  optimizer.build(variables);
  const norms: (number | undefined)[] = [];
  optimizer.on("iteration", ({ globalNorm }) => norms.push(globalNorm));
  return { runtime, variables, optimizer, elsewhere, norms, gathered: [] };
}

function gradients({ variables }: Model, named: readonly boolean[], seed: number): GradientPair[] {
  const random = new Random(seed);
  const pairs = variables.map((variable): GradientPair => {
    const { shape, size } = variable;
    if (shape.length === 1 || random.next() < 0.3) return [Float32Array.from(random.values(size)), variable];
    const indices = random.indices(12, shape[0]!, false);
    return [{ indices, values: Float32Array.from(random.values((12 * size) / shape[0]!)) }, variable];
  });
  return pairs.filter((_, i) => named[i] || i === seed % pairs.length);
}

async function happen(model: Model, event: Happening): Promise<void> {
  const { optimizer, runtime, variables } = model;
  const all = variables.map(() => true);
  if (event.what === "step") {
    const pairs = gradients(model, event.named, event.seed);
    if (event.mode === "sync") {
      // Averages that become lazy may be the CPU's, which a synchronous step cannot bring them to.
      if (optimizer.averages.length > 0 && accelerator.cannot.lazy !== undefined) await runtime.synchronize();
      optimizer.applyGradientsSync(pairs);
    } else await optimizer.applyGradients(pairs);
  } else if (event.what === "two steps") {
    const steps = [0, 1].map((i) => optimizer.applyGradients(gradients(model, all, event.seed + i)));
    await Promise.all(steps);
  } else if (event.what === "synchronize") {
    await runtime.synchronize();
  } else if (event.what === "read") {
    await variables[0]!.read();
  } else if (event.what === "write") {
    await runtime.synchronize();
    variables[0]!.segments[0]!.data[3] = 0.5;
    optimizer.accumulators[1]!.segments[0]!.data[0] = 2;
  } else if (event.what === "resize") {
    const table = variables[event.which]!;
    if (event.mode === "sync") {
      await runtime.synchronize();
      table.resizeRowsSync(event.rows);
    } else await table.resizeRows(event.rows, { initializer: "ones" });
  } else if (event.what === "gather") {
    const rows = [0, 4, 2, 4];
    model.gathered.push(Array.from(await variables[event.which]!.gatherAsync(rows)));
    const average = optimizer.averages[event.which];
    if (average !== undefined) model.gathered.push(Array.from(await average.gatherAsync(rows)));
    await runtime.synchronize();
    model.gathered.push(Array.from(variables[event.which]!.gather(rows)));
  } else if (event.what === "materialize") {
    await variables[event.which]!.materialize();
  } else if (event.what === "step elsewhere") {
    await model.elsewhere.applyGradients(gradients(model, all, 5));
  }
}

/** The means of row-wise accumulators are the contract suite's, with a tolerance, where they are not exact. */
const accumulators: Accumulators = accelerator.exactMeans ? ["elementwise", "rowwise"] : ["elementwise"];

describe(`anything that happens to a model (${accelerator.kind})`, () => {
  const cpu = new Runtime({ device: "cpu", threads: 0 });
  afterAll(() => cpu.close());

  test("gives the bits of the CPU, wherever its variables live and whenever the device is lost", async () => {
    const places = fc.array(fc.constantFrom("auto" as const, "auto" as const, "cpu" as const), {
      minLength: shapes.length,
      maxLength: shapes.length,
    });
    // Small memories leave no room for a second gradient; a small journal is full after every step or two.
    const memories = fc.record({
      journalBytes: fc.constantFrom(undefined, 0, 5000),
      arenaBytes: fc.constantFrom(undefined, 192 * 1024),
    });
    const happenings = fc.array(happening, { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(
        optionsWith(accumulators),
        places,
        happenings,
        memories,
        async (given, where, all, memory) => {
          const { runtime, device } = await accelerator.troubled({}, memory);
          // In a small memory there is no room for what comes beside the variables later.
          const isSmall = memory.arenaBytes !== undefined;
          const events = isSmall
            ? all.filter(({ what }) => what !== "step elsewhere" && what !== "resize")
            : all;
          const chosen: AdagradOptions = isSmall ? { ...given, sparseEma: "eager" } : given;
          const [model, reference] = [modelOn(runtime, chosen, where), modelOn(cpu, chosen, where)];
          for (const event of events) {
            if (event.what === "lose") {
              let left = event.calls;
              if (event.at === "now") device.lose("by chance", event.calls % 2 === 0);
              else
                device.before = (what) => what === event.at && left-- === 0 && device.lose("by chance", true);
              continue;
            }
            await happen(model, event);
            await happen(reference, event);
          }
          for (const { variables } of [model, reference]) {
            for (const variable of variables) await variable.materialize();
          }
          await runtime.synchronize();
          const [actual, expected] = [model, reference].map(({ optimizer, variables }) =>
            stateOf(optimizer, variables),
          );
          expectSameState(actual!, expected!, "");
          const others = [model, reference].map(({ elsewhere, variables }) => stateOf(elsewhere, variables));
          expectSameState(others[0]!, others[1]!, "elsewhere");
          expect(model.norms).toEqual(reference.norms);
          expect(model.gathered).toEqual(reference.gathered);
          for (const { variables, optimizer, elsewhere } of [model, reference]) {
            disposeAll(variables, optimizer);
            elsewhere.dispose();
          }
          await runtime.close();
        },
      ),
      { numRuns: Number(process.env.SHARDGRAD_TEST_RUNS ?? 25) },
    );
  });
});
