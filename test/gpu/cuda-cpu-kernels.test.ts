// The CUDA kernels against the CPU's own kernels, bit for bit, for both dtypes.
import type { Command, GpuBackend } from "@shardgrad/gpu";
import { gpuKernels, TILE } from "@shardgrad/gpu";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clips, expectSame, numbers, oddNumbers, positives, seeded } from "../kernels/data.js";
import { call, Floats, placeIndices, readDoubles, reserve, reset } from "../kernels/kernels.js";
import { kernelRuns, openerOf } from "./cuda-runs.js";
import { DeviceArrays } from "./device-arrays.js";
import { grouped } from "./grouped.js";

const step = { learningRate: 0.1, epsilon: 1e-7 };
const average = { momentum: 0.99, complement: 0.01 };

type Four<Item> = readonly [Item, Item, Item, Item];

/** Copies in the memory of the kernels: variable, accumulator, average, gradient. */
function inKernelMemory(
  suffix: ConstructorParameters<typeof Floats>[0],
  host: Four<ArrayLike<number>>,
): Four<Floats> {
  return host.map((values) => new Floats(suffix, values)) as never;
}

describe.each(kernelRuns)("CUDA kernels (%s) and CPU kernels", (runs) => {
  const open = openerOf(runs);
  if (typeof open === "string") {
    test.skip(`the same bits (${open})`, () => {});
    return;
  }
  let backend: GpuBackend;
  beforeAll(async () => {
    backend = await open(5);
  });
  afterAll(() => backend.close());

  describe.each(["F32", "F64"] as const)("%s", (suffix) => {
    const dtype = suffix === "F32" ? "float32" : "float64";
    const made = (values: ArrayLike<number>) =>
      suffix === "F32" ? Float32Array.from(values) : Float64Array.from(values);

    /** A kernel run on arrays, by the names of the table; the arrays afterwards. */
    async function run(
      kernel: Command["kernel"],
      inputs: Readonly<Record<string, Float32Array | Float64Array | Uint32Array>>,
      scalars: Readonly<Record<string, number>>,
      count: number,
    ) {
      const device = new DeviceArrays(backend);
      const buffers = gpuKernels[kernel].buffers.map(({ name }) => {
        const values = inputs[name]!;
        const binding = device.room(values.byteLength);
        backend.upload(binding.buffer, 0, values);
        return { name, binding, values };
      });
      backend.launch([
        {
          kernel,
          dtype,
          buffers: buffers.map(({ binding }) => binding),
          scalars: gpuKernels[kernel].scalars.map(({ name }) => scalars[name]!),
          count,
        },
      ]);
      const results: Record<string, Float32Array | Float64Array | Uint32Array> = {};
      for (const { name, binding, values } of buffers) {
        results[name] = values.slice();
        await backend.download(binding.buffer, 0, results[name]);
      }
      device.free(...buffers.map(({ binding }) => binding));
      return results;
    }

    function odd(count: number) {
      const special = oddNumbers(suffix);
      return Float64Array.from({ length: count }, (_, i) => special[(i * 7) % special.length]!);
    }

    test.each(clips)("dense, clip kind $clipKind", async ({ clipKind, a, b }) => {
      for (const count of [1, 6, 4096, 9001]) {
        for (const emaKind of [0, 1, 2]) {
          for (const special of [false, true]) {
            reset();
            const random = seeded(count);
            const host = [
              numbers(suffix, count, random),
              special ? odd(count).map(Math.abs) : positives(suffix, count, random),
              numbers(suffix, count, random),
              special ? odd(count) : numbers(suffix, count, random),
            ] as const;
            const [w, s, e, g] = inKernelMemory(suffix, host);
            // biome-ignore format: the arguments as the kernel groups them
            call(
              `adagradDense${suffix}`, w.at, s.at, e.at, g.at, count, step.learningRate, step.epsilon, clipKind, a, b,
              average.momentum, average.complement, emaKind,
            );
            const result = await run(
              "adagradDense",
              {
                variable: made(host[0]),
                accumulator: made(host[1]),
                average: made(host[2]),
                gradient: made(host[3]),
                ranges: Uint32Array.of(0, count, 0, 0, 0, 0, 0, 0),
                clips: made([a, b, 0, 0]),
              },
              { ...step, ...average, clipKind, emaKind, rangeCount: 1 },
              Math.ceil(count / TILE),
            );
            expectSame(result.variable!, w.read(), `variable of ${count}`);
            expectSame(result.accumulator!, s.read(), `accumulator of ${count}`);
            expectSame(result.average!, e.read(), `average of ${count}`);
          }
        }
      }
    });

    test.each(["adagradRows", "rowwiseRows"] as const)("%s, many slices of some rows", async (kernel) => {
      const rows = 30;
      for (const [k, rowSize] of [1, 3, 4, 8, 20, 64, 70, 128, 131].entries()) {
        for (const perRow of [0, 1]) {
          reset();
          const { clipKind, a, b } = clips[k % clips.length]!;
          const random = seeded(rowSize);
          // Some rows have so many slices that a whole block works on them, others more than are loaded at a time.
          const indices = Array.from({ length: 900 }, (_, i) =>
            i % 3 === 0 ? 7 : i % 4 === 0 ? 8 : Math.floor(random() * random() * rows),
          );
          const host = {
            w: numbers(suffix, rows * rowSize, random),
            s: positives(suffix, kernel === "adagradRows" ? rows * rowSize : rows, random),
            values: numbers(suffix, indices.length * rowSize, random),
          };
          const w = new Floats(suffix, host.w);
          const s = new Floats(suffix, host.s);
          const values = new Floats(suffix, host.values);
          const list = placeIndices(indices);
          const scratch = reserve(call("rowsScratchBytes", indices.length));
          // biome-ignore format: the arguments as the kernel groups them
          call(
            `${kernel}${suffix}`, w.at, s.at, rowSize, list.at, values.at, indices.length, 0, 1, 1, scratch.at,
            step.learningRate, step.epsilon, clipKind, a, b, perRow, 0, 1023,
          );
          const { order, rowGroups, count } = grouped(indices);
          const result = await run(
            kernel,
            {
              variable: made(host.w),
              accumulator: made(host.s),
              values: made(host.values),
              order: Uint32Array.from(order),
              rowGroups: Uint32Array.from(rowGroups),
              clips: made([a, b, 0, 0]),
              average: made([0]),
              factors: made([0]),
            },
            {
              ...step,
              ...average,
              emaKind: 0,
              clipKind,
              perRow,
              rowSize,
              firstPart: 0,
              partCount: 1,
            },
            count,
          );
          expectSame(result.variable!, w.read(), `variable, row size ${rowSize}`);
          expectSame(result.accumulator!, s.read(), `accumulator, row size ${rowSize}`);
        }
      }
    });

    test.each(clips)("rowwiseDense, clip kind $clipKind", async ({ clipKind, a, b }) => {
      for (const rowSize of [1, 7, 8, 33, 300]) {
        for (const emaKind of [0, 1, 2]) {
          reset();
          const rows = 21;
          const random = seeded(rowSize);
          const count = rows * rowSize;
          const host = [
            numbers(suffix, count, random),
            positives(suffix, rows, random),
            numbers(suffix, count, random),
            numbers(suffix, count, random),
          ] as const;
          const [w, s, e, g] = inKernelMemory(suffix, host);
          // biome-ignore format: the arguments as the kernel groups them
          call(
            `rowwiseDense${suffix}`, w.at, s.at, e.at, g.at, rows, rowSize, step.learningRate, step.epsilon, clipKind,
            a, b, average.momentum, average.complement, emaKind,
          );
          const result = await run(
            "rowwiseDense",
            {
              variable: made(host[0]),
              accumulator: made(host[1]),
              average: made(host[2]),
              gradient: made(host[3]),
              ranges: Uint32Array.of(0, count, 0, 0, 0, 0, 0, rowSize),
              clips: made([a, b, 0, 0]),
            },
            { ...step, ...average, clipKind, emaKind, rangeCount: 1 },
            rows,
          );
          expectSame(result.variable!, w.read(), `variable, row size ${rowSize}`);
          expectSame(result.accumulator!, s.read(), `accumulator, row size ${rowSize}`);
          expectSame(result.average!, e.read(), `average, row size ${rowSize}`);
        }
      }
    });

    test("sums of squares, whose order shows in the last bits", async () => {
      for (const count of [1, 7, 8, 1000, 4096, 4097, 30_011]) {
        reset();
        const host = numbers(suffix, count, seeded(count));
        const gradient = new Floats(suffix, host);
        const blocks = Math.ceil(count / TILE);
        const partials = reserve(8 * blocks);
        call(`sumSquares${suffix}`, gradient.at, count, partials.at);
        const result = await run(
          "sumSquares",
          {
            gradient: made(host),
            ranges: Uint32Array.of(0, count, 0, 0, 0, 0, 0, 0),
            partials: new Float64Array(blocks),
          },
          { rangeCount: 1, firstPartial: 0 },
          blocks,
        );
        expectSame(result.partials!, readDoubles(partials.at, blocks), `sums of ${count}`);
      }
    });

    test("clip scalars of more partial sums than a block has at hand, added in order", async () => {
      const partials = numbers("F64", 5000, seeded(2)).map((value) => value * value);
      const sums = [3000, 2000, 1024, 0].map((count, i) =>
        partials
          .subarray(i === 1 ? 3000 : 0, (i === 1 ? 3000 : 0) + count)
          .reduce((sum, value) => sum + value, 0),
      );
      const groups = Uint32Array.of(0, 3000, 0, 0, 3000, 2000, 1, 0, 0, 1024, 2, 0, 0, 0, 3, 0);
      const clips = made(new Float64Array(16));
      const result = await run("clipScalars", { partials, groups, clips }, { limit: 1.5, clipKind: 2 }, 4);
      const round = suffix === "F32" ? Math.fround : (value: number) => value;
      const expected = sums.flatMap((sum) => {
        const norm = round(Math.sqrt(round(sum)));
        return [1.5, Math.max(norm, 1.5), norm, 0];
      });
      expectSame(result.clips!, expected, "slots");
    });

    test("ema, gather, fill and copy", async () => {
      const [count, rowSize] = [5000, 6];
      reset();
      const [variable, mean] = [numbers(suffix, count, seeded(1)), numbers(suffix, count, seeded(2))];
      const [w, e] = [new Floats(suffix, variable), new Floats(suffix, mean)];
      call(`ema${suffix}`, w.at, e.at, count, average.momentum, average.complement, 2);
      const ranges = Uint32Array.of(0, count, 0, 0, 0, 0, 0, 0);
      const averaged = await run(
        "ema",
        { variable: made(variable), average: made(mean), ranges },
        { ...average, emaKind: 2, rangeCount: 1 },
        Math.ceil(count / TILE),
      );
      expectSame(averaged.variable!, w.read(), "variable");
      expectSame(averaged.average!, e.read(), "average");

      const rows = Uint32Array.of(9, 0, 9, 700);
      const target = made(new Float64Array(24));
      const gathered = await run(
        "gather",
        { source: made(variable), rows, target },
        { rowSize, sourceOffset: 4 },
        4,
      );
      const expected = [...rows].flatMap((row) => [
        ...variable.slice(4 + row * rowSize, 4 + (row + 1) * rowSize),
      ]);
      expectSame(gathered.target!, expected, "gathered");

      const filled = await run(
        "fill",
        { target: made(variable) },
        { value: 0.1, offset: 3, elements: 4200 },
        2,
      );
      const round = suffix === "F32" ? Math.fround : (value: number) => value;
      expectSame(filled.target!, variable.slice().fill(round(0.1), 3, 4203), "filled");
      const copied = await run(
        "copy",
        { source: made(mean), target: made(variable) },
        { sourceOffset: 1, targetOffset: 2, elements: 4998 },
        2,
      );
      expect(Array.from(copied.target!)).toEqual([...variable.slice(0, 2), ...mean.slice(1, 4999)]);
    });
  });
});
