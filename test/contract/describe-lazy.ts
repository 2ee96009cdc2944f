import { Adagrad, type Gradient, Runtime } from "@shardgrad/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Random } from "../support/random.js";
import type { DTypeName, ReferenceGradient } from "../support/reference.js";
import { expectSameBits, expectSameState } from "../support/state.js";
import { Twin } from "../support/twin.js";
import type { MakeRuntime } from "./describe-device.js";

type Options = ConstructorParameters<typeof Twin>[1];

export interface LazyDevice {
  /** Where such tables of a dtype live on the device: `gpu`, or they stay on the CPU. */
  readonly livesOn: (dtype: DTypeName) => "gpu" | "cpu" | undefined;
}

/**
 * Tables whose averages are kept lazily must be on every device what they are on one thread of the CPU, bit for bit. How
 * near that is to eager averages the property tests say.
 */
export function describeLazy(name: string, makeRuntime: MakeRuntime, { livesOn }: LazyDevice): void {
  describe(`${name}, averages that are kept lazily`, () => {
    const cpu = new Runtime({ device: "cpu", threads: 0 });
    let runtime: Runtime;
    beforeAll(async () => {
      runtime = makeRuntime();
      await runtime.ready();
    });
    afterAll(async () => {
      await runtime.close();
      await cpu.close();
    });

    /** The same tables on the device and on the CPU. */
    function pairOf(
      shapes: readonly (readonly [number, number])[],
      options: Options,
      { dtype = "float32", on = runtime }: { dtype?: DTypeName; on?: Runtime } = {},
    ) {
      const random = new Random(shapes.length);
      const lazily = {
        learningRate: 0.1,
        useEma: true,
        emaMomentum: 0.9,
        sparseEma: "lazy",
        ...options,
      } as const;
      const values = shapes.map(([rows, width]) => random.values(rows * width));
      const twins = [on, cpu].map((where) => {
        const twin = new Twin(where, lazily);
        shapes.forEach((shape, i) => void twin.add(shape, values[i]!, dtype));
        twin.optimizer.build(twin.variables);
        return twin;
      }) as [Twin, Twin];
      return { random, twins };
    }

    const slices = (random: Random, rows: number, width: number, count: number): ReferenceGradient => {
      const indices = random.indices(count, rows, false);
      return { indices, values: random.values(count * width) };
    };

    async function both(twins: readonly Twin[], act: (twin: Twin) => unknown): Promise<void> {
      for (const twin of twins) await act(twin);
    }

    function expectSame([twin, expected]: readonly [Twin, Twin], what: string): void {
      expectSameState(twin.state(), expected.state(), what);
    }

    async function materialize(twins: readonly [Twin, Twin], what: string): Promise<void> {
      await both(twins, async ({ variables }) => {
        for (const variable of variables) await variable.materialize();
      });
      await runtime.synchronize();
      expectSame(twins, what);
    }

    describe.each(["float32", "float64", "float16"] as const)("%s", (dtype) => {
      const options = [
        { duplicateIndices: "perSlice", accumulator: "elementwise" },
        { duplicateIndices: "perRow", accumulator: "elementwise", emaOverwriteFrequency: 3 },
        { duplicateIndices: "perSlice", accumulator: "rowwise", emaOverwriteFrequency: 2, clipvalue: 0.5 },
        { duplicateIndices: "perRow", accumulator: "rowwise", clipnorm: 1e9 },
      ] as const;
      test.each(options)("steps that name some rows, %o", async (chosen) => {
        const shapes = [
          [400, 7],
          [90, 64],
          [50, 1],
          [60, 100],
        ] as const;
        const { random, twins } = pairOf(shapes, chosen, { dtype });
        for (let s = 0; s < 9; s++) {
          // The first table in every step, the others in some.
          const named = shapes.map((_, i) => i === 0 || (s + i) % 3 !== 0);
          const gradients = shapes.map(([rows, width], i) =>
            named[i] ? slices(random, rows, width, i === 1 ? 5 : 40) : null,
          );
          await both(twins, (twin) =>
            twin.step(gradients, { mode: s % 3 === 1 ? "sync" : "async", withNull: false }),
          );
          expectSame(twins, `step ${s}, rows that are behind included`);
        }
        const where = livesOn(dtype);
        if (where !== undefined) {
          const placed = runtime.placement().variables.slice(-shapes.length);
          expect(placed.map(({ device }) => device)).toEqual(shapes.map(() => where));
        }
        await materialize(twins, "materialized");
        await both(twins, (twin) => twin.dispose());
      });
    });

    test("popular rows, of more slices than one block of threads takes at a time", async () => {
      for (const accumulator of ["elementwise", "rowwise"] as const) {
        for (const duplicateIndices of ["perSlice", "perRow"] as const) {
          const { random, twins } = pairOf(
            [
              [40, 70],
              [40, 6],
            ],
            { accumulator, duplicateIndices, emaOverwriteFrequency: 3 },
          );
          for (let s = 0; s < 4; s++) {
            const indices = Array.from({ length: 600 }, (_, i) => (i % 2 === 0 ? s % 2 : (i * 7 + s) % 40));
            const gradients = [70, 6].map((width) => ({ indices, values: random.values(600 * width) }));
            await both(twins, (twin) => twin.step(gradients));
            expectSame(twins, `${accumulator} ${duplicateIndices} step ${s}`);
          }
          await both(twins, (twin) => twin.dispose());
        }
      }
    });

    test("dense gradients and rows that are gathered find what was missed", async () => {
      const shape = [300, 12] as const;
      const { random, twins } = pairOf([shape], { emaMomentum: 0.7, emaOverwriteFrequency: 4 });
      for (let s = 0; s < 14; s++) {
        const gradient = s % 5 === 4 ? { dense: random.values(3600) } : slices(random, ...shape, 20);
        // As an application does it: nothing comes home after a step.
        await both(twins, ({ optimizer, variables }) =>
          optimizer.applyGradients([[asGiven(gradient), variables[0]!]]),
        );
        const rows = random.indices(30, 300, false);
        const [actual, expected] = await Promise.all(twins.map((twin) => rowsOf(twin, rows)));
        actual!.forEach((values, i) => {
          expectSameBits(values, expected![i]!, `step ${s}, ${i === 0 ? "variable" : "average"} `);
        });
        if (s === 6) {
          const [read, same] = await Promise.all(twins.map(({ optimizer }) => optimizer.averages[0]!.read()));
          expectSameBits(read!, same!, "read");
        }
      }
      await materialize(twins, "in the end");
      await both(twins, (twin) => twin.dispose());
    });

    test("steps of other optimizers find all rows up to date, also of one that stays on the CPU", async () => {
      const shape = [200, 5] as const;
      const { random, twins } = pairOf([shape], { emaOverwriteFrequency: 3 });
      const others = [runtime, cpu].map((on) =>
        [true, false].map((jitCompile) => new Adagrad({ learningRate: 0.05, jitCompile, runtime: on })),
      );
      for (let s = 0; s < 12; s++) {
        const gradient = slices(random, ...shape, 9);
        for (const [i, { optimizer, variables }] of twins.entries()) {
          const other = s % 4 === 2 ? others[i]![(s >> 2) % 2] : undefined;
          await (other ?? optimizer).applyGradients([[asGiven(gradient), variables[0]!]]);
        }
      }
      await materialize(twins, "in the end");
      for (const optimizer of others.flat()) optimizer.dispose();
      await both(twins, (twin) => twin.dispose());
    });

    test("more overwrites than the list of a table takes", async () => {
      const shape = [70, 3] as const;
      const { random, twins } = pairOf([shape], { emaOverwriteFrequency: 1 });
      for (let s = 0; s < 140; s++) {
        const gradient = slices(random, ...shape, 2);
        await both(twins, ({ optimizer, variables }) =>
          optimizer.applyGradients([[asGiven(gradient), variables[0]!]]),
        );
      }
      await materialize(twins, "in the end");
      await both(twins, (twin) => twin.dispose());
    });

    test("tables in several memories, which grow and shrink", async () => {
      const small = makeRuntime({ arenaBytes: 1024 * 1024 });
      await small.ready();
      const width = 16;
      const { random, twins } = pairOf([[101, width]], { emaOverwriteFrequency: 5 }, { on: small });
      let most = 0;
      for (const [i, rows] of [120, 1000, 9000, 20_000, 700].entries()) {
        for (let s = 0; s < 3; s++) {
          const gradient = slices(random, twins[0].oracles[0]!.shape[0]!, width, 300);
          await both(twins, (twin) => twin.step([gradient], { mode: s === 1 ? "sync" : "async" }));
        }
        const added = random.values(rows * width);
        await both(twins, (twin) => twin.resize(0, rows, { added: (count) => added.subarray(0, count) }));
        const gradient = i % 2 ? { dense: random.values(rows * width) } : slices(random, rows, width, 300);
        await both(twins, (twin) => twin.step([gradient]));
        expectSame(twins, `${rows} rows`);
        most = Math.max(most, twins[0].variables[0]!.segments.length);
      }
      expect(most).toBeGreaterThan(2);
      await both(twins, (twin) => twin.dispose());
      await small.close();
    });
  });
}

/** As an application hands a gradient over. */
function asGiven(gradient: ReferenceGradient): Gradient {
  if ("dense" in gradient) return Float32Array.from(gradient.dense);
  return { indices: Array.from(gradient.indices), values: Float32Array.from(gradient.values) };
}

/** Rows of the first variable and of its average. */
function rowsOf({ optimizer, variables }: Twin, rows: readonly number[]) {
  const both = [variables[0]!, optimizer.averages[0]!];
  return Promise.all(both.map((variable) => variable.gatherAsync<Float32Array>(rows)));
}
