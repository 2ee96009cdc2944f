// Tables whose averages are kept lazily, on a device that is lost or full: what was done is done again, bit for bit.
import { Adagrad, type AdagradOptions, Runtime, type RuntimeOptions, Variable } from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { runtimeInternals } from "../../../packages/core/dist/runtime/internals.js";
import { Random } from "../../support/random.js";
import { expectSameState, stateOf } from "../../support/state.js";
import type { Limits, Troubled } from "../accelerators/contract.js";
import { accelerator } from "../accelerators/tested.js";

type Mode = "async" | "sync";

/** Two tables of which a step names some rows; the same steps on every runtime. */
class Model {
  readonly tables: readonly Variable[];
  readonly optimizer: Adagrad;
  readonly #slices: number;

  constructor(
    runtime: Runtime,
    options: AdagradOptions = {},
    {
      shapes = [
        [70, 6],
        [40, 3],
      ] as readonly (readonly [number, number])[],
      slices = 8,
    } = {},
  ) {
    const random = new Random(3);
    this.tables = shapes.map(([rows, width], i) => {
      const values = Float32Array.from(random.values(rows * width));
      return new Variable(values, { shape: [rows, width], name: `table ${i}`, runtime });
    });
    this.optimizer = new Adagrad({
      learningRate: 0.1,
      useEma: true,
      emaMomentum: 0.8,
      emaOverwriteFrequency: 3,
      sparseEma: "lazy",
      ...options,
      runtime,
    });
    this.optimizer.build(this.tables);
    this.#slices = slices;
  }

  async step(s: number, mode: Mode = "async"): Promise<void> {
    const random = new Random(s);
    const named = this.tables.filter((_, i) => i !== s % 3);
    const pairs = named.map((table) => {
      const [rows, width] = table.shape as [number, number];
      const indices = random.indices(this.#slices, rows, false);
      return [{ indices, values: Float32Array.from(random.values(indices.length * width)) }, table] as const;
    });
    if (mode === "sync") this.optimizer.applyGradientsSync(pairs);
    else await this.optimizer.applyGradients(pairs);
  }

  async expectSame(other: Model, runtime: Runtime, what: string): Promise<void> {
    await runtime.synchronize();
    const states = [this, other].map(({ optimizer, tables }) => stateOf(optimizer, tables));
    expectSameState(states[0]!, states[1]!, what);
  }
}

const moments: Record<string, (device: Troubled) => void> = {
  "between two steps": (device) => device.lose("pulled out"),
  "while it launches": (device) => {
    device.before = (what) => what === "launch" && device.lose("pulled out", true);
  },
  "while the step runs": (device) => {
    device.before = (what) => what === "finished" && device.lose("pulled out", true);
  },
  "while values come home": (device) => {
    let downloads = 0;
    device.before = (what) => what === "download" && ++downloads === 2 && device.lose("pulled out", true);
  },
};

const { lazy: missing } = accelerator.cannot;

describe.skipIf(missing !== undefined)(`lazy averages on a device${missing ? ` (${missing})` : ""}`, () => {
  const cpu = new Runtime({ device: "cpu", threads: 0 });
  afterAll(() => cpu.close());

  async function models(
    options: AdagradOptions = {},
    runtimeOptions: RuntimeOptions = {},
    sizes?: ConstructorParameters<typeof Model>[2],
    limits: Limits = {},
  ) {
    const { runtime, device } = await accelerator.troubled(limits, runtimeOptions);
    return {
      runtime,
      device,
      model: new Model(runtime, options, sizes),
      same: new Model(cpu, options, sizes),
    };
  }

  describe.each(["async", "sync"] as const)("a device that is lost, %s steps", (mode) => {
    test.each(Object.keys(moments))("%s", async (moment) => {
      for (const accumulator of ["elementwise", "rowwise"] as const) {
        const { runtime, device, model, same } = await models({ accumulator });
        const both = async (act: (model: Model) => Promise<void>) => {
          await act(model);
          await act(same);
        };
        for (let s = 0; s < 7; s++) await both((each) => each.step(s, s < 2 ? "async" : mode));
        // Rows that are caught up on the device are caught up once when it is all done again.
        await both(({ tables }) => tables[0]!.materialize());
        expect(runtime.placement().variables.map(({ device: place }) => place)).toEqual(["gpu", "gpu"]);
        for (let s = 7; s < 9; s++) await both((each) => each.step(s, mode));
        moments[moment]!(device);
        await both((each) => each.step(9, mode));
        await model.expectSame(same, runtime, `${moment}, ${accumulator}`);
        device.before = () => {};
        expect(runtime.placement().device).toBeNull();
        for (let s = 10; s < 14; s++) await both((each) => each.step(s, mode));
        await both(({ tables }) => tables[1]!.materialize());
        await model.expectSame(same, runtime, `${moment}, ${accumulator}, later`);
        await runtime.close();
      }
    });
  });

  test("lost while a table is brought up to date", async () => {
    const { runtime, device, model, same } = await models();
    for (let s = 0; s < 6; s++) for (const each of [model, same]) await each.step(s);
    device.before = (what) => what === "finished" && device.lose("pulled out", true);
    for (const { tables } of [model, same]) for (const table of tables) await table.materialize();
    expect(runtime.placement().device).toBeNull();
    await model.expectSame(same, runtime, "materialized");
    await runtime.close();
  });

  test.each(["async", "sync"] as const)(
    "a journal that is full after every step or two, %s",
    async (mode) => {
      for (const journalBytes of [0, 500]) {
        const { runtime, model, same } = await models({}, { journalBytes });
        for (let s = 0; s < 12; s++) {
          for (const each of [model, same]) await each.step(s, s < 2 ? "async" : mode);
          if (s % 5 === 4) for (const { tables } of [model, same]) await tables[s % 2]!.materialize();
        }
        await model.expectSame(same, runtime, `${journalBytes} bytes`);
        await runtime.close();
      }
    },
  );

  test("steps are done again in memories that have no room for their gradients", async () => {
    const sizes = { shapes: [[1400, 20]] as const, slices: 900 };
    const { runtime, device, model, same } = await models({}, { arenaBytes: 256 << 10 }, sizes);
    expect(model.tables[0]!.segments.length).toBeGreaterThan(1);
    for (let s = 1; s < 9; s++) {
      if (s % 3 === 0) continue;
      for (const each of [model, same]) await each.step(s);
    }
    const giveBack = fill(runtime);
    device.lose("pulled out");
    await model.expectSame(same, runtime, "done again");
    giveBack();
    await runtime.close();
  });

  test("a synchronous step while a table is brought up to date is not counted as one that all rows have", async () => {
    const { runtime, device, model, same } = await models();
    for (let s = 0; s < 5; s++) for (const each of [model, same]) await each.step(s);
    let stepped: Promise<void> | undefined;
    device.before = (what) => {
      if (what !== "finished") return;
      device.before = () => {};
      stepped = model.step(6, "sync");
    };
    await model.tables[1]!.materialize();
    await stepped;
    await same.tables[1]!.materialize();
    await same.step(6, "sync");
    for (const { tables } of [model, same]) for (const table of tables) await table.materialize();
    await model.expectSame(same, runtime, "materialized");
    await runtime.close();
  });

  test("tables in several pieces of the device", async () => {
    const sizes = { shapes: [[1500, 20]] as const, slices: 150 };
    const limits = { bindingBytes: 16 << 10 };
    const { runtime, device, model, same } = await models({}, {}, sizes, limits);
    const rows = [0, 203, 204, 1499, 204, 1000];
    for (let s = 1; s < 9; s++) {
      if (s % 3 === 0) continue;
      for (const each of [model, same]) await each.step(s);
      const averages = [model, same].map(({ optimizer }) => optimizer.averages[0]!.gatherAsync(rows));
      expect(await averages[0]).toEqual(await averages[1]);
    }
    for (const { tables } of [model, same]) await tables[0]!.materialize();
    expect(device.launched.at(-1)!.filter((kernel) => kernel === "catchUp").length).toBeGreaterThan(7);
    await model.expectSame(same, runtime, "materialized");
    await runtime.close();
  });

  test("a read is as of its call, whatever synchronous steps do meanwhile", async () => {
    const sizes = { shapes: [[9000, 40]] as const, slices: 40 };
    const { runtime, model, same } = await models({ emaOverwriteFrequency: 2 }, {}, sizes);
    for (const s of [1, 2, 4]) for (const each of [model, same]) await each.step(s);
    const arraysOf = ({ tables, optimizer }: Model) => [tables[0]!, optimizer.averages[0]!];
    const rows = [8999, 0, 4500, 7];
    for (const [i, s] of [5, 7, 8, 10].entries()) {
      const array = arraysOf(model)[i % 2]!;
      const expected = arraysOf(same)[i % 2]!;
      const coming = i < 2 ? array.read() : array.gatherAsync(rows);
      const values = i < 2 ? await expected.read() : expected.gather(rows);
      for (const each of [model, same]) await each.step(s, "sync");
      expect(Buffer.compare(bytesOf(await coming), bytesOf(values)), `before step ${s}`).toBe(0);
    }
    await model.expectSame(same, runtime, "afterwards");
    await runtime.close();
  });

  test("rows that are copied in parts are as before or after a synchronous step that comes between", async () => {
    const sizes = { shapes: [[9000, 40]] as const, slices: 4000 };
    const { runtime, model, same } = await models({ emaOverwriteFrequency: 2 }, {}, sizes);
    for (const s of [1, 2, 4]) for (const each of [model, same]) await each.step(s);
    await runtime.synchronize();
    const rows = Uint32Array.from({ length: 9000 }, (_, row) => 8999 - row);
    const expected = (): Float32Array => same.optimizer.averages[0]!.gather(rows);
    const coming = model.optimizer.averages[0]!.gatherAsync<Float32Array>(rows);
    const before = expected();
    await new Promise(setImmediate);
    for (const each of [model, same]) await each.step(5, "sync");
    const after = expected();
    expect((await coming).findIndex((value, i) => value !== before[i] && value !== after[i])).toBe(-1);
    await runtime.close();
  });

  test("overwrites that rows have missed are not lost with the optimizer", async () => {
    const { runtime, model, same } = await models();
    for (let s = 0; s < 8; s++) for (const each of [model, same]) await each.step(s);
    for (const { optimizer } of [model, same]) optimizer.dispose();
    for (const [i, table] of model.tables.entries()) expect(await table.read()).toEqual(same.tables[i]!.data);
    await runtime.close();
  });

  test("what must be on the host refuses before it changes anything", async () => {
    const { runtime, model, same } = await models();
    for (let s = 0; s < 5; s++) for (const each of [model, same]) await each.step(s);
    const [table] = model.tables;
    expect(() => table!.assign(new Float32Array(420))).toThrow("synchronize");
    expect(() => model.optimizer.finalizeVariableValues(model.tables)).toThrow("synchronize");
    expect(() => table!.handle()).toThrow("synchronize");
    await model.expectSame(same, runtime, "after refusals");
    for (const { optimizer, tables } of [model, same]) optimizer.finalizeVariableValues(tables);
    await model.expectSame(same, runtime, "finalized");
    await runtime.close();
  });
});

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Takes all that is left of the memories that there are; what is returned gives it back. */
function fill(runtime: Runtime): () => void {
  const releases: (() => void)[] = [];
  for (const arena of [...runtime[runtimeInternals].memory.arenas]) {
    for (const bytes of [16_384, 1024, 64]) {
      for (let block = arena.allocate(bytes); block !== undefined; block = arena.allocate(bytes)) {
        const taken = block;
        releases.push(() => arena.release(taken));
      }
    }
    const { reserved } = arena;
    arena.reserved = arena.capacity;
    releases.push(() => {
      arena.reserved = reserved;
    });
  }
  return () => {
    for (const release of releases) release();
  };
}
