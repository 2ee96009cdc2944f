import type { GpuBuffer } from "../backend/contract.js";
import { rangeFields } from "../kernels/table.js";

type Fields = Partial<Record<(typeof rangeFields)[number], number>> & { readonly units: number };

/** Ranges of many arrays, put together by the buffers that they lie in: one launch for each set of buffers. */
export class RangeTable {
  readonly #launches = new Map<
    string,
    { readonly buffers: readonly GpuBuffer[]; readonly words: number[]; units: number }
  >();

  /** @param fields - a range without its first tile; `units` is the number of its tiles */
  add(buffers: readonly GpuBuffer[], fields: Fields): void {
    const key = buffers.map(numberOf).join();
    const launch = this.#launches.get(key) ?? { buffers, words: [], units: 0 };
    this.#launches.set(key, launch);
    const { units, ...range } = fields;
    for (const name of rangeFields)
      launch.words.push(name === "firstTile" ? launch.units : (range[name] ?? 0));
    launch.units += units;
  }

  *launches(): Generator<{ buffers: readonly GpuBuffer[]; words: Uint32Array; units: number }> {
    for (const { buffers, words, units } of this.#launches.values()) {
      yield { buffers, words: Uint32Array.from(words), units };
    }
  }
}

const numbers = new WeakMap<GpuBuffer, number>();
let next = 0;

/** A number that stands for a buffer. */
function numberOf(buffer: GpuBuffer): number {
  const known = numbers.get(buffer);
  if (known !== undefined) return known;
  numbers.set(buffer, next);
  return next++;
}
