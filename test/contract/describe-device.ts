import type { Runtime, Variable } from "@shardgrad/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { typed } from "../support/library.js";
import { Random } from "../support/random.js";
import type { DTypeName, ReferenceGradient } from "../support/reference.js";
import { expectSameState } from "../support/state.js";
import { type Form, nest, Twin } from "../support/twin.js";

export type MakeRuntime = (options?: { arenaBytes?: number }) => Runtime;

const dtypes: readonly DTypeName[] = ["float32", "float64", "float16"];
const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** How far sums of squares may be from the reference's, which adds them one by one: see semantics.md. */
const normTolerance: Record<DTypeName, { rtol: number; atol: number }> = {
  float32: { rtol: 1e-5, atol: 2e-6 },
  float64: { rtol: 1e-12, atol: 1e-12 },
  float16: { rtol: 1e-2, atol: 4e-3 },
};

export interface DeviceArithmetic {
  readonly keepsDenormals?: boolean;
  /** The mean of a row's squares is rounded at every addition: it may be a few ulp off. */
  readonly meansInFloat32?: boolean;
}

/** Sums of at most 64 squares that are rounded at each addition, over a few steps. */
export const meanTolerance = { rtol: 1e-6, atol: 1e-6 };

/** What every device that executes steps must do, each against the plain reference of test/support. */
export function describeDevice(
  name: string,
  makeRuntime: MakeRuntime,
  { keepsDenormals = true, meansInFloat32 = false }: DeviceArithmetic = {},
): void {
  describe(name, () => {
    let runtime: Runtime;
    beforeAll(async () => {
      runtime = makeRuntime();
      await runtime.ready();
    });
    afterAll(() => runtime.close());

    const dense = (random: Random, twin: Twin): ReferenceGradient[] =>
      twin.oracles.map(({ values }) => ({ dense: random.values(values.length) }));

    const slices = (random: Random, twin: Twin, count: number, unique = false): ReferenceGradient[] =>
      twin.oracles.map(({ shape, rowSize }) => {
        const indices = random.indices(count, shape[0]!, unique);
        return { indices, values: random.values(indices.length * rowSize) };
      });

    function twinOf(
      shapes: readonly (readonly number[])[],
      options: ConstructorParameters<typeof Twin>[1] = {},
      { dtype = "float32", on = runtime }: { dtype?: DTypeName; on?: Runtime } = {},
    ): { twin: Twin; random: Random } {
      const random = new Random(shapes.length);
      const twin = new Twin(on, { learningRate: 0.1, ...options });
      for (const shape of shapes) twin.add(shape, random.values(product(shape)), dtype);
      return { twin, random };
    }

    async function expectSteps(
      { twin, random }: { twin: Twin; random: Random },
      gradients: (random: Random, twin: Twin) => (ReferenceGradient | null)[],
      steps = 3,
      tolerance?: { rtol: number; atol: number },
    ): Promise<void> {
      for (let s = 0; s < steps; s++) {
        await twin.step(gradients(random, twin), { mode: s % 2 === 0 ? "async" : "sync" });
        if (tolerance === undefined) twin.expectSame(`step ${s}`);
        else twin.expectClose(tolerance, `step ${s}`);
      }
      twin.dispose();
    }

    describe.each(dtypes)("%s", (dtype) => {
      test("dense", () => expectSteps(twinOf([[1003], [7, 11], []], {}, { dtype }), dense));

      test("slices of different rows", () =>
        expectSteps(twinOf([[101, 5]], {}, { dtype }), (random, twin) => slices(random, twin, 40, true)));

      test.each(["perSlice", "perRow"] as const)("slices of the same rows, %s", (duplicateIndices) =>
        expectSteps(twinOf([[9, 7]], { duplicateIndices }, { dtype }), (random, twin) =>
          slices(random, twin, 50),
        ),
      );

      test.each(["perSlice", "perRow"] as const)("one accumulator a row, %s", async (duplicateIndices) => {
        const options = { accumulator: "rowwise", duplicateIndices } as const;
        const shapes = [[9, 7], [5, 3, 4], [40], [33, 64]];
        const tolerance = meansInFloat32 ? meanTolerance : undefined;
        const ofRows = (random: Random, twin: Twin) => slices(random, twin, 50);
        await expectSteps(twinOf(shapes, options, { dtype }), ofRows, 3, tolerance);
        const averaged = {
          ...options,
          useEma: true,
          emaMomentum: 0.5,
          emaOverwriteFrequency: 2,
          clipvalue: 0.5,
        };
        const more = twinOf([...shapes, [], [0, 3], [3, 0]], averaged, { dtype });
        await expectSteps(more, dense, 4, tolerance);
      });

      test("averages, overwriting the variables every second step", () => {
        const options = { useEma: true, emaMomentum: 0.9, emaOverwriteFrequency: 2 };
        return expectSteps(twinOf([[501], [6, 3]], options, { dtype }), dense, 4);
      });

      test("averages of a table of which a step names some rows", () => {
        const options = { useEma: true, emaMomentum: 0.75, emaOverwriteFrequency: 3 };
        return expectSteps(
          twinOf([[50, 6]], options, { dtype }),
          (random, twin) => slices(random, twin, 8),
          4,
        );
      });

      test("clipvalue", async () => {
        await expectSteps(twinOf([[333]], { clipvalue: 0.5 }, { dtype }), dense);
        await expectSteps(twinOf([[20, 4]], { clipvalue: 0.5 }, { dtype }), (r, twin) => slices(r, twin, 12));
      });

      test.each([{ clipnorm: 0.75 }, { globalClipnorm: 0.75 }])("%o", async (options) => {
        for (const gradients of [dense, (r: Random, twin: Twin) => slices(r, twin, 12)]) {
          const { twin, random } = twinOf(
            [
              [333, 3],
              [5, 2],
            ],
            options,
            { dtype },
          );
          for (let s = 0; s < 3; s++) await twin.step(gradients(random, twin));
          twin.expectClose(normTolerance[dtype]);
          twin.dispose();
        }
      });
    });

    test("a step without a gradient for some variables leaves them alone", () =>
      expectSteps(twinOf([[10], [20], [30]]), (random, twin) => [null, ...dense(random, twin).slice(1)]));

    test("many small variables", () => {
      const shapes = Array.from({ length: 200 }, (_, i) => [i % 23]);
      return expectSteps(twinOf(shapes, { useEma: true, emaMomentum: 0.5 }), dense);
    });

    test("empty variables among others", async () => {
      const shapes = [[0], [4, 3], [0, 3], [2, 0]];
      await expectSteps(twinOf(shapes, { useEma: true }), dense);
      await expectSteps(twinOf([[4, 3]], {}), (random, twin) => slices(random, twin, 0));
      for (const accumulator of ["elementwise", "rowwise"] as const) {
        await expectSteps(twinOf([[4, 0]], { accumulator }), (random, twin) => slices(random, twin, 6));
      }
      const { twin, random } = twinOf(shapes, { globalClipnorm: 100 });
      await twin.step(dense(random, twin));
      twin.expectClose(normTolerance.float32);
    });

    test("mixed dtypes, dense and sparse, in one step", async () => {
      const twin = new Twin(runtime, { learningRate: 0.3, useEma: true, emaMomentum: 0.7 });
      const random = new Random(5);
      for (const dtype of dtypes) twin.add([40, 3], random.values(120), dtype);
      await expectSteps({ twin, random }, () => [
        ...slices(random, twin, 9).slice(0, 1),
        ...dense(random, twin).slice(1, 2),
        ...slices(random, twin, 9).slice(2),
      ]);
    });

    test("NaN, infinities, zeros with a sign and, where the device keeps them, denormals", () => {
      const denormals = keepsDenormals ? [2 ** -149, -(2 ** -140)] : [2 ** -60, -(2 ** -50)];
      const special = [Number.NaN, Infinity, -Infinity, 0, -0, ...denormals, 3e38, 1, -1];
      const values = () => Float64Array.from({ length: 403 }, (_, i) => special[(i * 7) % special.length]!);
      const { twin, random } = twinOf([[403]], { learningRate: 1, initialAccumulatorValue: 0, epsilon: 0 });
      return expectSteps({ twin, random }, () => [{ dense: values() }]);
    });

    describe("gradients come as", () => {
      const forms: Record<string, Form> = {
        "ordinary typed arrays": (values, dtype) => typed(dtype, values),
        "views at an odd place of a larger array": (values, dtype) => {
          const larger = typed(dtype, [0, ...Array.from(values), 0]);
          return larger.subarray(1, 1 + values.length);
        },
        "arrays on a SharedArrayBuffer": (values, dtype) => {
          const array = typed(dtype, values);
          const shared = new SharedArrayBuffer(array.byteLength);
          const view = new (array.constructor as Float32ArrayConstructor)(shared);
          view.set(array as Float32Array);
          return view;
        },
        "nested arrays": (values, _, shape) => nest(values, shape),
        "arrays in the runtime's memory": (values, dtype) => {
          const array = runtime.allocate(values.length, dtype);
          array.set(typed(dtype, values));
          return array;
        },
        "views into the runtime's memory": (values, dtype) => {
          const array = runtime.allocate(values.length + 2, dtype).subarray(1, 1 + values.length);
          array.set(typed(dtype, values));
          return array;
        },
      };
      const modes = ["async", "sync"] as const;
      for (const [form, make] of Object.entries(forms)) {
        test(form, async () => {
          for (const dtype of ["float32", "float64"] as const) {
            const { twin, random } = twinOf(
              [
                [37, 3],
                [5, 2, 2],
              ],
              { clipvalue: 1 },
              { dtype },
            );
            for (const mode of modes) {
              await twin.step(dense(random, twin), { mode, form: make });
              await twin.step(slices(random, twin, 7), { mode, form: make });
              twin.expectSame(`${dtype} ${mode}`);
            }
            twin.dispose();
          }
        });
      }

      test("plain numbers for a scalar", async () => {
        const { twin } = twinOf([[]]);
        await twin.step([{ dense: [0.25] }], { form: (values) => values[0] });
        twin.expectSame();
      });

      test("float16 bit patterns or numbers", async () => {
        const { twin, random } = twinOf([[6, 2]], {}, { dtype: "float16" });
        await twin.step(dense(random, twin));
        await twin.step(dense(random, twin), { form: (values, _, shape) => nest(values, shape) });
        twin.expectSame();
      });

      test.runIf("Float16Array" in globalThis)("a Float16Array, where Node has it", async () => {
        const { twin, random } = twinOf([[33]], {}, { dtype: "float16" });
        const Float16Array = (globalThis as unknown as { Float16Array: Float32ArrayConstructor })
          .Float16Array;
        await twin.step(dense(random, twin), { form: (values) => Float16Array.from(values) });
        twin.expectSame();
      });

      test.each([
        ["Int32Array", (rows: number[]) => Int32Array.from(rows)],
        ["Uint32Array", (rows: number[]) => Uint32Array.from(rows)],
        ["BigInt64Array", (rows: number[]) => BigInt64Array.from(rows.map(BigInt))],
      ] as const)("slices with indices in a %s", async (_, toIndices) => {
        const { twin } = twinOf([[6, 2]]);
        const values = Float32Array.of(1, 2, 3, 4);
        twin.reference.step([[{ indices: [5, 0], values }, twin.oracles[0]!]]);
        await twin.optimizer.applyGradients([[{ indices: toIndices([5, 0]), values }, twin.variables[0]!]]);
        await runtime.synchronize();
        twin.expectSame();
      });
    });

    test("a gradient is not changed by the step, not even by clipping", async () => {
      const { twin } = twinOf([[40]], { clipnorm: 0.1 });
      for (const gradient of [new Float32Array(40).fill(3), runtime.allocate(40).fill(3)]) {
        await twin.optimizer.applyGradients([[gradient, twin.variables[0]!]]);
        twin.optimizer.applyGradientsSync([[gradient, twin.variables[0]!]]);
        expect([...gradient]).toEqual(Array(40).fill(3));
      }
    });

    test("the live data of a variable of the step as a gradient: what it held before the step counts", async () => {
      for (const options of [{}, { globalClipnorm: 1e6 }, { useEma: true, emaOverwriteFrequency: 1 }]) {
        for (const mode of ["async", "sync"] as const) {
          const { twin } = twinOf([[40_000], [40_000]], options);
          const [a, b] = twin.variables as [Variable, Variable];
          const [first, second] = twin.oracles.map(({ values }) => ({ dense: values.slice() }));
          twin.reference.step([
            [second!, twin.oracles[0]!],
            [first!, twin.oracles[1]!],
          ]);
          const pairs = [
            [b.data, a],
            [a.data, b],
          ] as const;
          if (mode === "sync") twin.optimizer.applyGradientsSync(pairs);
          else await twin.optimizer.applyGradients(pairs);
          await runtime.synchronize();
          if ("globalClipnorm" in options) twin.expectClose(normTolerance.float32, `${mode} with a norm`);
          else twin.expectSame(`${mode} ${JSON.stringify(options)}`);
          twin.dispose();
        }
      }
    });

    test("one array as the gradient of two variables", async () => {
      const { twin } = twinOf([[100], [100]]);
      const gradient = runtime.allocate(100).fill(0.5);
      twin.reference.step(twin.oracles.map((oracle) => [{ dense: gradient }, oracle]));
      await twin.optimizer.applyGradients(twin.variables.map((variable) => [gradient, variable] as const));
      await runtime.synchronize();
      twin.expectSame();
    });

    describe("variables larger than one memory", () => {
      let small: Runtime;
      beforeAll(async () => {
        small = makeRuntime({ arenaBytes: 128 * 1024 });
        await small.ready();
      });
      afterAll(() => small.close());

      test("are split and still are one variable", async () => {
        const { twin, random } = twinOf([[3001, 7], [40]], { useEma: true, emaMomentum: 0.5 }, { on: small });
        expect(twin.variables[0]!.segments.length).toBeGreaterThan(1);
        await expectSteps({ twin, random }, dense);
      });

      test("take slices of rows in any segment", async () => {
        for (const duplicateIndices of ["perSlice", "perRow"] as const) {
          const made = twinOf([[3001, 7]], { duplicateIndices, useEma: true }, { on: small });
          await expectSteps(made, (random, twin) => slices(random, twin, 500));
        }
      });

      test("take slices that find no room together beside the first segment", async () => {
        const room = makeRuntime({ arenaBytes: 512 * 1024 });
        for (const options of [{ useEma: true }, { globalClipnorm: 1e9 }]) {
          const made = twinOf([[2997, 9]], options, { dtype: "float64", on: room });
          // A quarter of the table: more than is left of a memory that holds a third of it three or four times.
          await expectSteps(made, (random, twin) => slices(random, twin, 2000));
          made.twin.dispose();
        }
        await room.close();
      });

      test("clip by one norm over all segments", async () => {
        for (const options of [{ clipnorm: 2 }, { globalClipnorm: 2 }, { clipvalue: 0.5 }]) {
          const { twin, random } = twinOf([[3001, 7], [40]], options, { on: small });
          await twin.step(dense(random, twin));
          await twin.step(slices(random, twin, 30));
          twin.expectClose(normTolerance.float32, Object.keys(options)[0]!);
          twin.dispose();
        }
      });

      test.each(["float64", "float16"] as const)("hold %s", (dtype) =>
        expectSteps(twinOf([[3001, 7]], {}, { dtype, on: small }), dense),
      );

      test("a row longer than one memory takes dense gradients", () =>
        expectSteps(twinOf([[2, 20_011]], {}, { on: small }), dense));

      test("many variables in several memories", () => {
        const shapes = Array.from({ length: 30 }, () => [50, 11]);
        return expectSteps(twinOf(shapes, { useEma: true }, { on: small }), dense);
      });
    });

    test("asynchronous and synchronous steps give identical bits", async () => {
      const states = [];
      for (const mode of ["async", "sync"] as const) {
        const { twin, random } = twinOf([[5003], [300, 16]], { globalClipnorm: 1, useEma: true });
        for (let s = 0; s < 3; s++) {
          await twin.step(
            s === 1 ? [dense(random, twin)[0]!, slices(random, twin, 99)[1]!] : dense(random, twin),
            {
              mode,
            },
          );
        }
        states.push(twin.state());
        twin.dispose();
      }
      expectSameState(states[1]!, states[0]!);
    });

    test("steps called one after another without waiting run in order", async () => {
      const { twin, random } = twinOf([[2003]]);
      const steps: Promise<void>[] = [];
      for (let s = 0; s < 8; s++) steps.push(twin.step(dense(random, twin)));
      await Promise.all(steps);
      twin.expectSame();
    });
  });
}
