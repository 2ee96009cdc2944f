// The kernels of the GPU back ends on tables whose averages are kept lazily, against the CPU's own kernels, bit for bit.
import { type Binding, type GpuBackend, gpuKernels, HEADER_WORDS, ROW_GROUP_WORDS } from "@shardgrad/gpu";
import { powerTable } from "@shardgrad/workers";
import { afterAll, beforeAll, describe, test } from "vitest";
import { behindRows } from "../../packages/core/dist/variable/behind-rows.js";
import { clips, expectSame, numbers, positives, seeded } from "../kernels/data.js";
import {
  call,
  Floats,
  memory,
  placeDoubles,
  placeIndices,
  reserve,
  reset,
  writeWords,
} from "../kernels/kernels.js";
import { rounding } from "../kernels/reference.js";
import { DeviceArrays } from "./device-arrays.js";
import { grouped } from "./grouped.js";

type Suffix = "F32" | "F64";

const ROWS = 40;
const CLOCK = 70_000;
const FLOOR = 100;
/** What each row has, by its number: before the floor, between overwrites, after them, all. */
const LASTS = [0, 100, 149, 150, 151, 65_000, 65_001, 69_999, CLOCK, CLOCK + 1];
const OVERWRITES = [150, 65_000];
const OFFSET = 4;

/** A table in the memory of the CPU's kernels, and what a device is told of its rows. */
function tableOf(
  suffix: Suffix,
  rowSize: number,
  momentum: number,
  overwrites: readonly number[],
  kind: number,
) {
  reset();
  const random = seeded(rowSize);
  const dtype = suffix === "F32" ? "float32" : "float64";
  const round = rounding[suffix];
  const w = numbers(suffix, ROWS * rowSize, random);
  const e = numbers(suffix, ROWS * rowSize, random);
  const [kernelW, kernelE] = [new Floats(suffix, w), new Floats(suffix, e)];
  const lasts = placeIndices(Array.from({ length: ROWS }, (_, row) => LASTS[row % LASTS.length]!));
  const list = placeIndices(overwrites);
  const m = round(momentum);
  const block = placeDoubles([0, 0, 0, 0, m, round(1 - momentum), 0, 0, ...powerTable(m)]);
  writeWords(block.at, [CLOCK, FLOOR, overwrites.length, kind, kernelE.at, lasts.at, list.at]);
  const behind = (rows: readonly number[] | undefined) =>
    behindRows(dtype, memory.buffer, block.at, rows === undefined ? ROWS : Uint32Array.from(rows));
  return { random, w, e, kernelW, kernelE, block, behind };
}

/** What the kernels of a back end must do for tables whose averages are kept lazily: the bits of the CPU's. */
export function describeLazyKernels(suffixes: readonly Suffix[], open: () => Promise<GpuBackend>): void {
  let backend: GpuBackend;
  beforeAll(async () => {
    backend = await open();
  });
  afterAll(() => backend.close());

  describe.each(suffixes)("%s", (suffix) => {
    const dtype = suffix === "F32" ? "float32" : "float64";
    const made = (values: ArrayLike<number>) =>
      suffix === "F32" ? Float32Array.from(values) : Float64Array.from(values);

    /** A launch, and the arrays afterwards that are asked for. */
    async function run(
      kernel: "catchUp" | "adagradRows" | "rowwiseRows",
      inputs: Readonly<Record<string, Float32Array | Float64Array | Uint32Array>>,
      scalars: Readonly<Record<string, number>>,
      count: number,
    ) {
      const device = new DeviceArrays(backend);
      const buffers = gpuKernels[kernel].buffers.map(({ name }): [string, Binding] => {
        const values = inputs[name]!;
        const binding = device.room(values.byteLength);
        backend.upload(binding.buffer, 0, values);
        return [name, binding];
      });
      const given = gpuKernels[kernel].scalars.map(({ name }) => scalars[name]!);
      backend.launch([
        { kernel, dtype, buffers: buffers.map(([, binding]) => binding), scalars: given, count },
      ]);
      const results: Record<string, Float32Array | Float64Array> = {};
      for (const [name, { buffer }] of buffers) {
        const values = inputs[name]!;
        if (values instanceof Uint32Array) continue;
        results[name] = values.slice() as Float32Array | Float64Array;
        await backend.download(buffer, 0, results[name]);
      }
      device.free(...buffers.map(([, binding]) => binding));
      return results as Record<"variable" | "accumulator" | "average", Float32Array | Float64Array>;
    }

    /** As an array that begins at an offset of its buffer. */
    const shifted = (values: Float64Array) => made([...Array(OFFSET).fill(7), ...values]);
    const cases = [0, 0.99, 1].flatMap((momentum) => [
      { momentum, overwrites: [], kind: 1 },
      { momentum, overwrites: OVERWRITES, kind: 2 },
    ]);

    test.each([1, 3, 8, 70])("all rows of %i brought up to date", async (rowSize) => {
      for (const { momentum, overwrites, kind } of cases) {
        const { w, e, kernelW, kernelE, block, behind } = tableOf(
          suffix,
          rowSize,
          momentum,
          overwrites,
          kind,
        );
        const { words, factors } = behind(undefined);
        call(`catchUp${suffix}`, kernelW.at, rowSize, 0, ROWS, block.at);
        const result = await run(
          "catchUp",
          { variable: shifted(w), average: shifted(e), behind: words, factors: made(factors) },
          { rowSize, variableOffset: OFFSET, averageOffset: OFFSET },
          ROWS,
        );
        const what = `momentum ${momentum}, ${overwrites.length} overwrites`;
        expectSame(result.variable.subarray(OFFSET), kernelW.read(), `${what}: variable`);
        expectSame(result.average.subarray(OFFSET), kernelE.read(), `${what}: average`);
      }
    });

    describe.each(["adagradRows", "rowwiseRows"] as const)("%s", (kernel) => {
      test.each([1, 3, 8, 33, 70])("rows of %i, one with many slices", async (rowSize) => {
        for (const [k, { momentum, overwrites, kind }] of cases.entries()) {
          const { random, w, e, kernelW, kernelE, block, behind } = tableOf(
            suffix,
            rowSize,
            momentum,
            overwrites,
            kind,
          );
          const { clipKind, a, b } = clips[k % clips.length]!;
          const perRow = k & 1;
          const indices = Array.from({ length: 330 }, (_, i) => (i % 2 ? 25 : Math.floor(random() * ROWS)));
          const accumulators = positives(suffix, kernel === "adagradRows" ? w.length : ROWS, random);
          const values = numbers(suffix, indices.length * rowSize, random);
          const [s, v] = [new Floats(suffix, accumulators), new Floats(suffix, values)];
          const list = placeIndices(indices);
          const scratch = reserve(call("rowsScratchBytes", indices.length));
          const { order, rowGroups, count } = grouped(indices, { average: OFFSET });
          const { words, factors } = behind(indices);
          for (let at = HEADER_WORDS; at < rowGroups.length; at += ROW_GROUP_WORDS) {
            rowGroups[at + 3] = words[order[rowGroups[at + 1]!]!]!;
          }
          // biome-ignore format: the arguments as the kernel groups them
          call(
            `${kernel}${suffix}`, kernelW.at, s.at, rowSize, list.at, v.at, indices.length, 0, 1, 1, scratch.at,
            0.1, 1e-7, clipKind, a, b, perRow, 0, 1023, block.at,
          );
          const result = await run(
            kernel,
            {
              variable: made(w),
              accumulator: made(accumulators),
              values: made(values),
              order: Uint32Array.from(order),
              rowGroups: Uint32Array.from(rowGroups),
              clips: made([a, b, 0, 0]),
              average: shifted(e),
              factors: made(factors),
            },
            {
              learningRate: 0.1,
              epsilon: 1e-7,
              clipKind,
              perRow,
              rowSize,
              momentum,
              complement: 1 - momentum,
              emaKind: kind,
              firstPart: 0,
              partCount: 1,
            },
            count,
          );
          const what = `momentum ${momentum}, ${overwrites.length} overwrites`;
          expectSame(result.variable, kernelW.read(), `${what}: variable`);
          expectSame(result.accumulator, s.read(), `${what}: accumulator`);
          expectSame(result.average.subarray(OFFSET), kernelE.read(), `${what}: average`);
        }
      });
    });
  });
}
