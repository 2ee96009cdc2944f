// Steps of a kind that was there before take its layout: they must give what steps give that are laid out anew.
import { type CudaBackend, GpuExecutor } from "@shardgrad/gpu";
import type { ClipPlan, SegmentGradient, SegmentPlan, StepPlan, UpdatePlan } from "@shardgrad/workers";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Random } from "../support/random.js";
import { stubCuda } from "./stub-cuda.js";

const stub = stubCuda();

/** Variables over host memory, as core's plans name them. */
const shapes = [
  { rows: 1, rowSize: 5000, rowwise: false },
  { rows: 7, rowSize: 3, rowwise: false },
  { rows: 40, rowSize: 6, rowwise: true },
  { rows: 3, rowSize: 40, rowwise: true },
  { rows: 1, rowSize: 64, rowwise: false },
];
const LENGTH = 1 << 20;

class HostArrays {
  readonly memory = new SharedArrayBuffer(LENGTH);
  readonly places: { readonly variable: number; readonly accumulator: number; readonly average: number }[] =
    [];
  #end = 64;

  constructor() {
    const random = new Random(1);
    for (const { rows, rowSize, rowwise } of shapes) {
      const variable = this.#put(random.values(rows * rowSize));
      const accumulator = this.#put(Array(rowwise ? rows : rows * rowSize).fill(0.1));
      this.places.push({ variable, accumulator, average: this.#put(random.values(rows * rowSize)) });
    }
  }

  bytes(_memory: number, offset: number, length: number): Uint8Array {
    return new Uint8Array(this.memory, offset, length);
  }

  #put(values: ArrayLike<number>): number {
    const at = this.#end;
    new Float32Array(this.memory, at, values.length).set(values);
    this.#end += Math.ceil((4 * values.length) / 64) * 64;
    return at;
  }

  /** Gradients of a step, behind everything else. */
  gradients(): (values: Float64Array | Uint32Array) => number {
    let at = this.#end;
    return (values) => {
      const place = at;
      if (values instanceof Uint32Array) new Uint32Array(this.memory, at, values.length).set(values);
      else new Float32Array(this.memory, at, values.length).set(values);
      at += Math.ceil((4 * values.length) / 64) * 64;
      return place;
    };
  }
}

const clips: readonly ClipPlan[] = [
  { kind: "none" },
  { kind: "norm", limit: 0.5 },
  { kind: "globalNorm", limit: 0.7 },
  { kind: "globalNorm", limit: 2 },
  { kind: "value", limit: 0.2 },
  { kind: "scale", factor: 0.3 },
];
const averages: readonly StepPlan["average"][] = [
  null,
  { momentum: 0.9, overwrite: false },
  { momentum: 0.5, overwrite: true },
];

/** What a step is made of; few of each, so that kinds of steps come again. */
interface Step {
  readonly gradients: readonly ("none" | "dense" | 3 | 9)[];
  readonly clip: number;
  readonly average: number;
  readonly rate: number;
  readonly otherEpsilon: boolean;
  /** Arrays of this variable are dropped, or were written by the host, before the step. */
  readonly before: { readonly what: "nothing" | "drop" | "write"; readonly variable: number };
  readonly seed: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  gradients: fc.constantFrom<Step["gradients"][]>(
    ["dense", "dense", "dense", "dense", "dense"],
    ["dense", 3, 9, "dense", "none"],
    ["dense", 9, 9, 3, "dense"],
    ["none", "dense", "none", "none", "dense"],
  ),
  clip: fc.nat(clips.length - 1),
  average: fc.nat(averages.length - 1),
  rate: fc.constantFrom(0.1, 0.01),
  otherEpsilon: fc.boolean(),
  before: fc.record({
    what: fc.constantFrom<Step["before"]["what"][]>("nothing", "nothing", "nothing", "drop", "write"),
    variable: fc.nat(shapes.length - 1),
  }),
  seed: fc.nat(1000),
});

function planOf(host: HostArrays, { gradients, clip, average, rate, otherEpsilon, seed }: Step): StepPlan {
  const random = new Random(seed);
  const put = host.gradients();
  const updates = shapes.flatMap(({ rows, rowSize, rowwise }, i): UpdatePlan[] => {
    const kind = gradients[i]!;
    if (kind === "none") return [];
    const gradient: SegmentGradient =
      kind === "dense"
        ? { kind: "dense", offset: put(random.values(rows * rowSize)) }
        : {
            kind: "slices",
            indices: put(Uint32Array.from({ length: kind }, () => random.below(rows))),
            values: put(random.values(kind * rowSize)),
            count: kind,
          };
    const places = host.places[i]!;
    const segment: SegmentPlan = {
      ...{ memory: 0, start: 0, count: rows * rowSize, ...places, gradient, lazy: 0 },
      ...{ average: averages[average] === null ? 0 : places.average, versions: 0, versionMask: 0 },
    };
    return [
      {
        ...{ operation: "adagrad", dtype: "float32", rowSize, pin: i, segments: [segment], rowwise },
        ...{ learningRate: rate, epsilon: otherEpsilon && i > 2 ? 1e-3 : 1e-7, perRow: false },
      },
    ];
  });
  return { updates, clip: clips[clip]!, average: averages[average]!, elements: 1 };
}

/** Everything that a variable may have on a device. */
function allArrays(host: HostArrays): UpdatePlan[] {
  const all: Step = {
    gradients: ["dense", "dense", "dense", "dense", "dense"],
    ...{ clip: 0, average: 1, rate: 1, otherEpsilon: false, seed: 1 },
    before: { what: "nothing", variable: 0 },
  };
  return [...planOf(host, all).updates];
}

class Model {
  readonly host = new HostArrays();
  readonly executor: GpuExecutor;

  constructor(readonly backend: CudaBackend) {
    this.executor = new GpuExecutor(backend, this.host);
  }

  prepare(): Promise<void> {
    return this.executor.prepare(allArrays(this.host));
  }

  async run(step: Step): Promise<number | undefined> {
    const { what, variable } = step.before;
    const { executor, host } = this;
    for (const offset of what === "nothing" ? [] : Object.values(host.places[variable]!)) {
      if (what === "drop") executor.drop(0, offset);
      else executor.changed(0, offset);
    }
    await this.prepare();
    executor.launch(planOf(host, step));
    return (await executor.settled()).globalNorm;
  }

  /** Forgets all layouts: an array has come and gone. */
  async forget(): Promise<void> {
    const [first] = allArrays(this.host);
    const [segment] = first!.segments;
    const other = LENGTH - 4 * segment!.count;
    const segments = [{ ...segment!, variable: other, accumulator: other, average: 0 }];
    await this.executor.prepare([{ ...first!, segments }]);
    this.executor.drop(0, other);
  }

  /** Gives the arrays' room back, for another model on the same device. */
  clear(): void {
    for (const places of this.host.places) {
      for (const offset of Object.values(places)) this.executor.drop(0, offset);
    }
  }

  async values(): Promise<number[][]> {
    const arrays = this.host.places.flatMap(({ variable, accumulator, average }, i) => {
      const { rows, rowSize, rowwise } = shapes[i]!;
      const count = rows * rowSize;
      return [
        { offset: variable, count },
        { offset: accumulator, count: rowwise ? rows : count },
        { offset: average, count },
      ];
    });
    return Promise.all(
      arrays.map(async ({ offset, count }) => {
        const bytes = new Uint8Array(4 * count);
        await this.executor.download(0, offset, bytes);
        return [...new Int32Array(bytes.buffer)];
      }),
    );
  }
}

describe.skipIf(typeof stub === "string")(
  `layouts that are kept${typeof stub === "string" ? ` (${stub})` : ""}`,
  () => {
    if (typeof stub === "string") return;
    test("any steps give the bits of steps that are laid out anew", async () => {
      stub.reset();
      const backends = [await stub.open(), await stub.open()] as const;
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 14 }), async (steps) => {
          const [model, anew] = [new Model(backends[0]), new Model(backends[1])];
          for (const each of steps) {
            await anew.forget();
            expect(await model.run(each)).toBe(await anew.run(each));
          }
          await Promise.all([model.prepare(), anew.prepare()]);
          expect(await model.values()).toEqual(await anew.values());
          for (const each of [model, anew]) each.clear();
        }),
        { numRuns: Number(process.env.SHARDGRAD_TEST_RUNS ?? 20) },
      );
      for (const backend of backends) await backend.close();
      expect(stub.left).toBe(0);
    });

    describe("what goes up", () => {
      let model: Model;
      const each = (more: Partial<Step> = {}): Step => ({
        gradients: ["dense", "dense", "dense", "dense", "dense"],
        ...{ clip: 2, average: 1, rate: 0.1, otherEpsilon: true, seed: 1 },
        before: { what: "nothing", variable: 0 },
        ...more,
      });
      const uploads = async (given: Step): Promise<number> => {
        const upload = vi.spyOn(model.backend, "upload");
        await model.run(given);
        const { length } = upload.mock.calls;
        upload.mockRestore();
        return length;
      };

      beforeAll(async () => {
        stub.reset();
        model = new Model(await stub.open());
        for (let i = 0; i < 2; i++) await model.run(each());
      });
      afterAll(() => model.executor.close());

      test("as of the third step of a kind: the gradients, in one copy", async () => {
        expect(await uploads(each({ seed: 2, rate: 0.5 }))).toBe(1);
      });

      test("of other steps of the last kinds too", async () => {
        for (let i = 0; i < 2; i++) await model.run(each({ clip: 1 }));
        expect(await uploads(each({ clip: 1 }))).toBe(1);
        expect(await uploads(each())).toBe(1);
      });

      test("tables again, when an array has another place", async () => {
        expect(await uploads(each({ before: { what: "drop", variable: 1 } }))).toBeGreaterThan(2);
        await model.run(each());
        expect(await uploads(each())).toBe(1);
      });

      test("an array that the host has written, and nothing else", async () => {
        expect(await uploads(each({ before: { what: "write", variable: 4 } }))).toBe(1 + 3);
      });
    });
  },
);
