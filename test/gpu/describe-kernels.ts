import {
  CLIP_SLOT_ELEMENTS,
  clipKinds,
  type GpuBackend,
  NORM_GROUP_WORDS,
  RANGE_WORDS,
  TILE,
} from "@shardgrad/gpu";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clips, expectSame, numbers, oddNumbers, positives, seeded } from "../kernels/data.js";
import { type Average, denseStep, emaStep, rowsStep, type Scalars } from "../kernels/reference.js";
import { DeviceArrays } from "./device-arrays.js";
import { grouped } from "./grouped.js";
import { rowwiseDenseStep, rowwiseRowsStep } from "./reference-rowwise.js";

const averages: readonly Average[] = [0, 1, 2].map((kind) => ({ kind, momentum: 0.99, complement: 0.01 }));
const step = { learningRate: 0.1, epsilon: 1e-7 };
const scalarsOf = (clip: Pick<Scalars, "clipKind" | "a" | "b">): Scalars => ({
  rate: 0.1,
  epsilon: 1e-7,
  ...clip,
});

interface Arrays {
  w: Float64Array;
  accumulator: Float64Array;
  average: Float64Array;
  gradient: Float64Array;
}

function randomArrays(count: number, seed: number): Arrays {
  const random = seeded(seed);
  return {
    w: numbers("F32", count, random),
    accumulator: positives("F32", count, random),
    average: numbers("F32", count, random),
    gradient: numbers("F32", count, random),
  };
}

/** Ranges of these lengths one after another, each begun at a multiple of 64 elements; and the total of elements. */
function rangesOf(counts: readonly number[], unit: (count: number) => number, rowSize = 0) {
  const words: number[] = [];
  const starts: number[] = [];
  let at = 0;
  let units = 0;
  for (const count of counts) {
    starts.push(at);
    words.push(units, count, at, rowSize === 0 ? at : at / rowSize, at, at, 0, rowSize);
    units += unit(count);
    at = Math.ceil((at + count) / 64) * 64;
  }
  return { words, starts, units, total: at };
}

const tilesOf = (count: number) => Math.ceil(count / TILE);

/** What the kernels of a back end must do: the numbers of the CPU's, bit for bit. */
export function describeKernels(name: string, open: () => Promise<GpuBackend>): void {
  describe(name, () => {
    let backend: GpuBackend;
    let arrays: DeviceArrays;
    beforeAll(async () => {
      backend = await open();
      arrays = new DeviceArrays(backend);
    });
    afterAll(() => backend.close());

    async function dense(
      counts: readonly number[],
      clip: (typeof clips)[number],
      average: Average,
      odd = false,
    ) {
      const { words, starts, units, total } = rangesOf(counts, tilesOf);
      const host = randomArrays(total, total);
      if (odd) {
        const special = oddNumbers("F32");
        host.gradient.forEach((_, i) => {
          host.gradient[i] = special[i % special.length]!;
          host.w[i] = special[Math.floor(i / special.length) % special.length]!;
        });
      }
      const device = {
        variable: arrays.elements(host.w),
        accumulator: arrays.elements(host.accumulator),
        average: arrays.elements(host.average),
        gradient: arrays.elements(host.gradient),
        ranges: arrays.words(words),
        clips: arrays.elements([clip.a, clip.b, 0, 0]),
      };
      const scalars = { ...step, clipKind: clip.clipKind, emaKind: average.kind, rangeCount: counts.length };
      arrays.launch("adagradDense", device, { ...scalars, ...average }, units);
      denseStep("F32", host, scalarsOf(clip), average);
      const read = {
        variable: await arrays.read(device.variable, total),
        accumulator: await arrays.read(device.accumulator, total),
        average: await arrays.read(device.average, total),
      };
      counts.forEach((count, i) => {
        const part = (values: Float64Array | Float32Array) => values.subarray(starts[i], starts[i]! + count);
        const what = `clip ${clip.clipKind} average ${average.kind} range ${i}`;
        expectSame(part(read.variable), part(host.w), `${what}: variable`);
        expectSame(part(read.accumulator), part(host.accumulator), `${what}: accumulator`);
        expectSame(part(read.average), part(host.average), `${what}: average`);
      });
      arrays.free(...Object.values(device));
    }

    test.each(clips)(
      "adagradDense, clip kind $clipKind, many ranges, each use of the average",
      async (clip) => {
        const counts = [1, 2, 3, 5, 63, 64, 65, 4095, 4096, 4097, 10_007];
        for (const average of averages) await dense(counts, clip, average);
      },
    );

    test("adagradDense, zeros of both signs, infinities, NaN, denormals", async () => {
      for (const clip of clips) await dense([600], clip, averages[2]!, true);
    });

    test("ema", async () => {
      for (const average of averages.slice(1)) {
        const { words, units, total } = rangesOf([10, 5000], tilesOf);
        const host = randomArrays(total, 3);
        const variable = arrays.elements(host.w);
        const mean = arrays.elements(host.average);
        const ranges = arrays.words(words);
        const scalars = { ...average, emaKind: average.kind, rangeCount: words.length / RANGE_WORDS };
        arrays.launch("ema", { variable, average: mean, ranges }, scalars, units);
        emaStep("F32", host.w, host.average, average);
        for (const [start, count] of [
          [0, 10],
          [64, 5000],
        ] as const) {
          const part = (values: Float64Array | Float32Array) => values.subarray(start, start + count);
          expectSame(part(await arrays.read(variable, total)), part(host.w), "variable");
          expectSame(part(await arrays.read(mean, total)), part(host.average), "average");
        }
        arrays.free(variable, mean, ranges);
      }
    });

    const rowSizes = [1, 2, 7, 16, 33, 64, 300];

    test.each(clips)("rowwiseDense, clip kind $clipKind", async (clip) => {
      for (const rowSize of rowSizes) {
        for (const average of averages) {
          const rows = 9;
          const random = seeded(rowSize);
          const make = (count: number) => numbers("F32", count, random);
          const host = {
            w: make(rows * rowSize),
            accumulator: positives("F32", rows, random),
            average: make(rows * rowSize),
            gradient: make(rows * rowSize),
          };
          const device = {
            variable: arrays.elements(host.w),
            accumulator: arrays.elements(host.accumulator),
            average: arrays.elements(host.average),
            gradient: arrays.elements(host.gradient),
            ranges: arrays.words([0, rows * rowSize, 0, 0, 0, 0, 0, rowSize]),
            clips: arrays.elements([clip.a, clip.b, 0, 0]),
          };
          const scalars = {
            ...step,
            ...average,
            clipKind: clip.clipKind,
            emaKind: average.kind,
            rangeCount: 1,
          };
          arrays.launch("rowwiseDense", device, scalars, rows);
          rowwiseDenseStep(host, rowSize, scalarsOf(clip), average);
          const what = `row size ${rowSize} average ${average.kind}`;
          expectSame(await arrays.read(device.variable, host.w.length), host.w, `${what}: variable`);
          expectSame(await arrays.read(device.accumulator, rows), host.accumulator, `${what}: accumulator`);
          expectSame(await arrays.read(device.average, host.w.length), host.average, `${what}: average`);
          arrays.free(...Object.values(device));
        }
      }
    });

    test.each(["adagradRows", "rowwiseRows"] as const)("%s, several slices of a row", async (kernel) => {
      const rows = 40;
      for (const [k, rowSize] of rowSizes.entries()) {
        const clip = clips[k % clips.length]!;
        for (const perRow of [false, true]) {
          const random = seeded(rowSize);
          const indices = Array.from({ length: 90 }, () => Math.floor(random() * rows));
          const host = {
            w: numbers("F32", rows * rowSize, random),
            accumulator: positives("F32", kernel === "adagradRows" ? rows * rowSize : rows, random),
            values: numbers("F32", indices.length * rowSize, random),
          };
          const { order, rowGroups, count } = grouped(indices, { clip: 1 });
          const device = {
            variable: arrays.elements(host.w),
            accumulator: arrays.elements(host.accumulator),
            values: arrays.elements(host.values),
            order: arrays.words(order),
            rowGroups: arrays.words(rowGroups),
            clips: arrays.elements([9, 9, 9, 9, clip.a, clip.b, 0, 0]),
            // Not touched: averages that are kept lazily have a test of their own, cuda-lazy-kernels.test.ts.
            average: arrays.room(4),
            factors: arrays.room(4),
          };
          const scalars = {
            ...step,
            ...averages[0]!,
            emaKind: 0,
            clipKind: clip.clipKind,
            perRow: perRow ? 1 : 0,
            rowSize,
            firstPart: 0,
            partCount: 1,
          };
          // The device knows how many groups there are.
          arrays.launch(kernel, device, scalars, count + 50);
          if (kernel === "adagradRows") rowsStep("F32", host, rowSize, indices, scalarsOf(clip), perRow);
          else rowwiseRowsStep(host, rowSize, indices, scalarsOf(clip), perRow);
          const what = `row size ${rowSize} per row ${perRow}`;
          expectSame(await arrays.read(device.variable, host.w.length), host.w, `${what}: variable`);
          const { length } = host.accumulator;
          expectSame(await arrays.read(device.accumulator, length), host.accumulator, `${what}: accumulator`);
          arrays.free(...Object.values(device));
        }
      }
    });

    /** The clip slots of some arrays of gradients, each a norm group of its own or all in one. */
    async function slotsOf(gradients: readonly ArrayLike<number>[], limit: number, oneGroup: boolean) {
      const { words, starts, units, total } = rangesOf(
        gradients.map(({ length }) => length),
        tilesOf,
      );
      // What stands between the ranges must not count.
      const all = new Float64Array(total).fill(1e30);
      for (const [i, values] of gradients.entries()) all.set(values, starts[i]);
      // The sums of the last range come first.
      let partial = units;
      for (const [i, { length }] of gradients.entries()) {
        partial -= tilesOf(length);
        words[i * RANGE_WORDS + 2] = partial;
      }
      const gradient = arrays.elements(all);
      const ranges = arrays.words(words);
      const partials = arrays.room(8 * (units + 1));
      const groups: number[] = [];
      if (oneGroup) groups.push(1, units, 0, 0);
      else {
        for (const [i, { length }] of gradients.entries()) {
          groups.push(1 + words[i * RANGE_WORDS + 2]!, tilesOf(length), i, 0);
        }
      }
      const groupWords = arrays.words(groups);
      const slots = groups.length / NORM_GROUP_WORDS;
      const clips = arrays.room(slots * 4 * CLIP_SLOT_ELEMENTS);
      arrays.launch(
        "sumSquares",
        { gradient, ranges, partials },
        { rangeCount: gradients.length, firstPartial: 1 },
        units,
      );
      const clipKind = oneGroup ? clipKinds.scale : clipKinds.norm;
      arrays.launch("clipScalars", { partials, groups: groupWords, clips }, { limit, clipKind }, slots);
      const read = await arrays.read(clips, slots * CLIP_SLOT_ELEMENTS);
      arrays.free(gradient, ranges, partials, groupWords, clips);
      return Array.from({ length: slots }, (_, i) => read.slice(i * 4, i * 4 + 3));
    }

    /** As the CPU computes them: clipScalars of workers/src/execute/lane-runner.ts. */
    function expectedSlot(gradients: readonly ArrayLike<number>[], limit: number, kind: "norm" | "scale") {
      const r = Math.fround;
      let sum = 0;
      for (const values of gradients) for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
      const norm = r(Math.sqrt(r(sum)));
      const [a, b] = [r(limit), Math.max(norm, r(limit))];
      if (kind === "norm") return [a, b, norm];
      const scale = r(a * Math.min(r(1 / norm), r(1 / a)));
      return [Number.isFinite(norm) ? scale : Number.NaN, 0, norm];
    }

    test("norms and clip scalars are those of float64 sums", async () => {
      const lengths = [1, 7, 64, 4096, 4097, 300_001];
      for (const scale of [1, 1e-12, 1e15]) {
        const gradients = lengths.map((length) =>
          numbers("F32", length, seeded(length)).map((g) => Math.fround(g * scale)),
        );
        for (const limit of [0.75, 1e9]) {
          const slots = await slotsOf(gradients, limit, false);
          slots.forEach((slot, i) => {
            expectSame(
              slot,
              expectedSlot([gradients[i]!], limit, "norm"),
              `norm of ${lengths[i]} times ${scale}`,
            );
          });
          const [all] = await slotsOf(gradients, limit, true);
          expectSame(all!, expectedSlot(gradients, limit, "scale"), `global norm times ${scale}`);
        }
      }
    });

    test("norms of zeros, of infinities and NaN, and of what overflows", async () => {
      const cases = [
        [0, 0, -0],
        [1, Infinity],
        [1, -Infinity],
        [NaN, 1],
        [Math.fround(3e38), Math.fround(3e38)],
        [Math.fround(1e20)],
        [Math.fround(1.8e19)],
      ];
      for (const values of cases) {
        for (const oneGroup of [false, true]) {
          const [slot] = await slotsOf([values], 2, oneGroup);
          expectSame(slot!, expectedSlot([values], 2, oneGroup ? "scale" : "norm"), `${values} ${oneGroup}`);
        }
      }
    });

    test("gather, fill and copy", async () => {
      const source = arrays.elements(Array.from({ length: 30 }, (_, i) => i));
      const target = arrays.room(4 * 40);
      arrays.launch("fill", { target }, { value: -1.5, offset: 1, elements: 38 }, 1);
      arrays.launch("copy", { source, target }, { sourceOffset: 3, targetOffset: 5, elements: 4 }, 1);
      const expected = [0, ...Array(38).fill(-1.5), 0];
      expected.splice(5, 4, 3, 4, 5, 6);
      expect([...(await arrays.read(target, 40))]).toEqual(expected);
      const rows = arrays.words([6, 0, 6]);
      arrays.launch("gather", { source, rows, target }, { rowSize: 4, sourceOffset: 2 }, 3);
      const gathered = [26, 27, 28, 29, 2, 3, 4, 5, 26, 27, 28, 29];
      expect([...(await arrays.read(target, 12))]).toEqual(gathered);
      arrays.free(source, target, rows);
    });
  });
}
