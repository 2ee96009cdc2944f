import type { GpuBuffer } from "../backend/contract.js";
import { RANGE_WORDS, type rangeFields } from "../kernels/table.js";

type Fields = Partial<Record<(typeof rangeFields)[number], number>> & {
  readonly count: number;
  readonly units: number;
};

/** Numbers that a kernel reads beside the arrays: ranges, groups of partial sums, or parts of keys. */
export interface Table {
  /** The buffers of the arrays. */
  readonly buffers: readonly GpuBuffer[];
  readonly words: Uint32Array;
  readonly entries: number;
  /** Units of work, as `Command.count`. */
  readonly units: number;
}

/** Ranges of many arrays, put together by the buffers that they lie in: one launch for each set of buffers. */
export class RangeTable {
  readonly #launches: { readonly buffers: readonly GpuBuffer[]; readonly words: number[]; units: number }[] =
    [];

  /** @param fields - a range without its first tile; `units` is the number of its tiles */
  add(buffers: readonly GpuBuffer[], fields: Fields): void {
    let launch = this.#launches.find((known) => areSame(known.buffers, buffers));
    if (launch === undefined) {
      launch = { buffers, words: [], units: 0 };
      this.#launches.push(launch);
    }
    const { variable = 0, accumulator = 0, average = 0, gradient = 0, clip = 0, rowSize = 0 } = fields;
    // In the order of `rangeFields`.
    launch.words.push(launch.units, fields.count, variable, accumulator, average, gradient, clip, rowSize);
    launch.units += fields.units;
  }

  tables(): Table[] {
    return this.#launches.map(({ buffers, words, units }) => ({
      buffers,
      words: Uint32Array.from(words),
      entries: words.length / RANGE_WORDS,
      units,
    }));
  }
}

function areSame(a: readonly GpuBuffer[], b: readonly GpuBuffer[]): boolean {
  return a.every((buffer, i) => buffer === b[i]);
}
