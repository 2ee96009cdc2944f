// Steps with slices: grouped by row on the device, and with the bits of the CPU.
import { Adagrad, type AdagradOptions, Runtime, Variable } from "@shardgrad/core";
import { describe, expect, test } from "vitest";
import { Random } from "../../support/random.js";
import { expectSameState, stateOf } from "../../support/state.js";
import { accelerator, heard, opened } from "../accelerators/tested.js";
import { expectNothingLeft } from "./leaks.js";

const { cannot, exactMeans, kind } = accelerator;
const cpu = new Runtime({ device: "cpu", threads: 0 });
const isGrouping = (kernel: string) => kernel === "groupSlices" || kernel === "countDigits";

/** A table: its rows, elements of a row, and slices of a step. */
type Table = readonly [rows: number, rowSize: number, slices: number];

/** The same tables and steps on a runtime and without a device. */
class Pair {
  readonly devices: string[] = [];
  readonly #tables: readonly Table[];
  readonly #sides: { readonly variables: Variable[]; readonly optimizer: Adagrad }[];
  readonly #random = new Random(5);

  constructor(runtime: Runtime, tables: readonly Table[], options: AdagradOptions = {}) {
    this.#tables = tables;
    const values = tables.map(([rows, rowSize]) => Float32Array.from(this.#random.values(rows * rowSize)));
    this.#sides = [runtime, cpu].map((on) => ({
      variables: tables.map(
        ([rows, rowSize], i) => new Variable(values[i]!, { shape: [rows, rowSize], runtime: on }),
      ),
      optimizer: new Adagrad({ learningRate: 0.1, ...options, runtime: on }),
    }));
    this.#sides[0]!.optimizer.on("iteration", ({ device }) => this.devices.push(device));
  }

  /** A third of a table's slices are of one row. */
  async step(mode: "async" | "sync" = "async"): Promise<void> {
    const random = this.#random;
    const gradients = this.#tables.map(([rows, rowSize, slices]) => ({
      indices: Array.from({ length: slices }, (_, i) => (i % 3 === 0 ? rows - 1 : random.below(rows))),
      values: Float32Array.from(random.values(slices * rowSize)),
    }));
    for (const [side, { variables, optimizer }] of this.#sides.entries()) {
      const pairs = variables.map((variable, i) => [gradients[i]!, variable] as const);
      if (side === 1 || mode === "sync") optimizer.applyGradientsSync(pairs as never);
      else await optimizer.applyGradients(pairs as never);
    }
  }

  expectSame(): void {
    const [here, expected] = this.#sides.map(({ optimizer, variables }) => stateOf(optimizer, variables));
    expectSameState(here!, expected!);
  }
}

describe(`slices (${kind})`, () => {
  expectNothingLeft();

  const optimizers: AdagradOptions[] = [
    {},
    { duplicateIndices: "perRow", clipnorm: 0.5 },
    { useEma: true, emaOverwriteFrequency: 2, globalClipnorm: 3 },
    ...(exactMeans
      ? [
          { accumulator: "rowwise" as const },
          { accumulator: "rowwise" as const, duplicateIndices: "perRow" as const },
        ]
      : []),
  ];
  test.each(optimizers)("few and many of them, %o", async (options) => {
    const { runtime, device } = await accelerator.troubled();
    const tables: Table[] = [
      [700, 5, 2500],
      [90, 33, 40],
      [5000, 5, 3],
    ];
    const pair = new Pair(runtime, tables, options);
    for (const mode of ["async", "async", "sync", "async"] as const) await pair.step(mode);
    await runtime.synchronize();
    pair.expectSame();
    expect(pair.devices).toEqual(Array(4).fill(kind));
    for (const commands of device.launched) expect(commands.filter(isGrouping)).toEqual(["countDigits"]);
    await runtime.close();
  });

  test.skipIf(cannot.packing !== undefined)(
    `hundreds of tables take few launches${cannot.packing ? ` (${cannot.packing})` : ""}`,
    async () => {
      const { runtime, device } = await accelerator.troubled();
      const tables = Array.from(
        { length: 200 },
        (_, i): Table => [1 + ((i * 7) % 40), 1 + (i % 3), 1 + (i % 9)],
      );
      const pair = new Pair(runtime, tables, { clipnorm: 1 });
      for (let i = 0; i < 3; i++) await pair.step();
      await runtime.synchronize();
      pair.expectSame();
      const rows = Array(3).fill("adagradRows");
      expect(device.launched).toEqual(Array(3).fill(["groupSlices", "sumSquares", "clipScalars", ...rows]));
      await runtime.close();
    },
  );

  test.skipIf(cannot.limits !== undefined)(
    `tables in pieces, grouped once${cannot.limits ? ` (${cannot.limits})` : ""}`,
    async () => {
      const { runtime, device } = await accelerator.troubled({ bindingBytes: 64 << 10 });
      const pair = new Pair(runtime, [
        [4000, 13, 1200],
        [3, 13, 5],
      ]);
      await pair.step();
      await pair.step("sync");
      await runtime.synchronize();
      pair.expectSame();
      const [first] = device.launched;
      expect(first!.filter(isGrouping)).toEqual(["groupSlices"]);
      // Four pieces; the last one lies beside the small table.
      expect(first!.filter((kernel) => kernel === "adagradRows").length).toBe(4);
      await runtime.close();
    },
  );

  test.skipIf(cannot.limits !== undefined)(
    `more of them than one sort has room for${cannot.limits ? ` (${cannot.limits})` : ""}`,
    async () => {
      const { runtime, device } = await accelerator.troubled({ bindingBytes: 4096 });
      const table: Table = [50, 4, 150];
      const pair = new Pair(runtime, [table, table, [9, 4, 20], [20, 4, 300]]);
      for (let i = 0; i < 2; i++) await pair.step();
      await runtime.synchronize();
      pair.expectSame();
      // The last one has more than the arrays of a sort hold.
      expect(pair.devices).toEqual(["hybrid", "hybrid"]);
      expect(device.launched[0]!.filter(isGrouping)).toEqual(["groupSlices", "groupSlices"]);
      await runtime.close();
    },
  );

  test.skipIf(cannot.room !== undefined).each(["async", "sync"] as const)(
    `no room for grouping: that step is the CPU's, the device is kept, %s${cannot.room ? ` (${cannot.room})` : ""}`,
    async (mode) => {
      // 8 MiB for the arrays, 4 for the gradient; grouping asks for more than is left.
      const limits = { bindingBytes: 4 << 20, totalBytes: (12 << 20) + (600 << 10) };
      const { runtime, device } = await accelerator.troubled(limits);
      const events = heard(runtime);
      const pair = new Pair(runtime, [[1000, 16, 20_000]]);
      await pair.step();
      await pair.step(mode);
      await runtime.synchronize();
      pair.expectSame();
      expect(pair.devices).toEqual(["inline", "inline"]);
      expect(device.launched).toEqual([]);
      expect(events).toEqual(opened());
      await runtime.close();
    },
  );
});
