// Kernels that look at gradients before the step: clipping in place, norms, validation of indices.
import { beforeEach, describe, expect, test } from "vitest";
import { clips, expectSame, numbers, oddNumbers, seeded } from "./data.js";
import { call, dtypes, exported, Floats, placeIndices, readDoubles, reserve, reset } from "./kernels.js";
import { clipValue } from "./reference.js";

const counts = [...Array(68).keys(), 4095, 4096, 4097, 10_007];

beforeEach(reset);

describe.each(dtypes)("clip%s", (dtype) => {
  test.each(clips)("kind $clipKind", (clip) => {
    const odd = Float64Array.from(oddNumbers(dtype));
    for (const values of [...counts.map((count) => numbers(dtype, count, seeded(count))), odd]) {
      reset();
      const place = new Floats(dtype, values, values.length % 9);
      call(`clip${dtype}`, place.at, values.length, clip.clipKind, clip.a, clip.b);
      const expected = values.map((g) => clipValue(dtype, g, { rate: 0, epsilon: 0, ...clip }));
      expectSame(place.read(), expected, `count ${values.length}`);
    }
  });
});

/** The order that norms.ts promises: eight running sums, added in pairs, then what is left over. */
function blockSum(block: Float64Array): number {
  const sums = new Float64Array(8);
  const whole = block.length - (block.length % 8);
  for (let i = 0; i < whole; i++) sums[i % 8]! += block[i]! * block[i]!;
  const pair = (lane: number) => sums[lane]! + sums[lane + 2]! + (sums[lane + 4]! + sums[lane + 6]!);
  return block.subarray(whole).reduce((sum, value) => sum + value * value, pair(0) + pair(1));
}

describe.each(dtypes)("sumSquares%s", (dtype) => {
  test("one partial sum for each block, the same for every alignment", () => {
    for (const count of counts) {
      const values = numbers(dtype, count, seeded(count));
      const blocks = Math.ceil(count / 4096);
      const expected = Array.from({ length: blocks }, (_, i) =>
        blockSum(values.subarray(i * 4096, i * 4096 + 4096)),
      );
      for (const offset of [0, 2, 8, 13]) {
        reset();
        const place = new Floats(dtype, values, offset);
        const partials = reserve(blocks * 8);
        call(`sumSquares${dtype}`, place.at, count, partials.at);
        expectSame(readDoubles(partials.at, blocks), expected, `count ${count} offset ${offset}`);
        expectSame(place.read(), values, "values");
        expect(call("sumPartials", partials.at, blocks, 0)).toBe(
          expected.reduce((sum, part) => sum + part, 0),
        );
      }
    }
  });

  test("odd numbers", () => {
    for (const value of oddNumbers(dtype)) {
      reset();
      const place = new Floats(dtype, [value, value, value]);
      const partials = reserve(8);
      call(`sumSquares${dtype}`, place.at, 3, partials.at);
      expect(readDoubles(partials.at, 1)[0]).toBe(value * value + value * value + value * value);
    }
  });
});

test("normBlock is exported", () => {
  expect((exported.normBlock as { value: number }).value).toBe(4096);
});

test("checkIndices finds the first bad index", () => {
  for (const count of counts) {
    for (const rows of [1, 1000, 0x8000_0001, 0xffff_ffff]) {
      const random = seeded(count);
      const indices = Array.from({ length: count }, () => Math.floor(random() * rows));
      reset();
      const good = placeIndices(indices, 4 * (count % 3));
      expect(call("checkIndices", good.at, count, rows)).toBe(-1);
      for (const bad of new Set([0, count >> 1, count - 1].filter((at) => at >= 0 && at < count))) {
        const broken = indices.with(bad, rows).with(count - 1, 0xffff_ffff);
        reset();
        expect(call("checkIndices", placeIndices(broken).at, count, rows)).toBe(bad);
      }
    }
  }
});
