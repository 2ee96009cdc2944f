import type { Binding, Command } from "../backend/contract.js";
import { DIGIT_BITS, DIGITS, HEADER_WORDS, MOST_SORT_TILES, ROW_GROUP_WORDS } from "../kernels/table.js";

/**
 * Up to so many slices one workgroup groups by itself, in one launch: the slices of a workgroup take about as long as the
 * launches that are saved.
 */
export const ONE_LAUNCH = 2048;
/** Slices of a tile, unless there would be too many tiles. */
const TILE_SLICES = 1024;

/** How slices are sorted: decided by their number and by that of the keys. */
export interface SortShape {
  readonly slices: number;
  /** Tables, or pieces of them: entries of the table of parts. */
  readonly parts: number;
  /** Bits that one pass looks at. */
  readonly digitBits: number;
  readonly passes: number;
  readonly tileLength: number;
  readonly tiles: number;
}

/**
 * How many slices are sorted.
 * @param keys - rows of all tables together, at most 2^32
 * @param parts - entries of the table of parts
 */
export function sortShape(slices: number, keys: number, parts: number): SortShape {
  const bits = Math.max(1, 32 - Math.clz32(keys - 1));
  const passes = Math.ceil(bits / DIGIT_BITS);
  const tileLength = TILE_SLICES * Math.ceil(slices / (TILE_SLICES * MOST_SORT_TILES));
  const tiles = Math.ceil(slices / tileLength);
  return { slices, parts, digitBits: Math.ceil(bits / passes), passes, tileLength, tiles };
}

/** Bytes of what grouping writes; the first two are what the rows kernels read. */
export function sortBytes({ slices, parts, passes, tiles }: SortShape) {
  return {
    order: 4 * slices,
    rowGroups: 4 * (HEADER_WORDS * parts + ROW_GROUP_WORDS * slices),
    even: 8 * slices,
    odd: 8 * slices,
    counters: slices <= ONE_LAUNCH ? 0 : 4 * DIGITS * tiles * passes,
  };
}

/** Bytes of the largest array that grouping takes for so many slices and parts, over any number of keys. */
export function largestSortArray(slices: number, parts: number): number {
  return 4 * (HEADER_WORDS * parts + ROW_GROUP_WORDS * slices);
}

/** The arrays of a sort: those of `sortBytes`, and what it reads. */
export interface SortArrays extends Readonly<Record<keyof ReturnType<typeof sortBytes>, Binding>> {
  /** The row numbers of all tables, one after another. */
  readonly rows: Binding;
  readonly parts: Binding;
  /** A word for each slice in the order of `rows`, where some of the averages are kept lazily. */
  readonly behind: Binding | undefined;
}

/**
 * Commands that group slices by row, those of one row in list order: one, or for more than ONE_LAUNCH slices three and
 * one for each pass.
 */
export function groupCommands(shape: SortShape, arrays: SortArrays): Command[] {
  const { slices, parts, digitBits, passes, tileLength, tiles } = shape;
  const { rows, even, odd, counters, order, rowGroups } = arrays;
  const lazy = arrays.behind === undefined ? 0 : 1;
  const behind = arrays.behind ?? rows;
  const command = (
    kernel: Command["kernel"],
    buffers: readonly Binding[],
    scalars: readonly number[],
    count = tiles,
  ): Command => ({ kernel, dtype: "float32", buffers, scalars, count });
  if (slices <= ONE_LAUNCH) {
    const all = [rows, arrays.parts, behind, even, odd, order, rowGroups];
    return [command("groupSlices", all, [slices, parts, digitBits, passes, lazy], 1)];
  }
  const sort = [slices, parts, tileLength, digitBits];
  const commands = [command("countDigits", [rows, arrays.parts, counters], [...sort, passes])];
  let sorted = rows;
  for (let pass = 0; pass < passes; pass++) {
    const to = pass % 2 === 0 ? even : odd;
    const buffers = [rows, arrays.parts, sorted, counters, to];
    commands.push(command("sortPass", buffers, [...sort, pass, pass + 1 < passes ? 1 : 0]));
    sorted = to;
  }
  return [
    ...commands,
    command("countRows", [sorted, counters], [slices, tileLength]),
    command(
      "writeGroups",
      [sorted, arrays.parts, behind, counters, order, rowGroups],
      [slices, parts, tileLength, lazy],
    ),
  ];
}

/** What the rows kernels are told of a part: see `partFields`. */
export interface PartPlace {
  readonly clip?: number;
  readonly variable?: number;
  readonly accumulator?: number;
  readonly values?: number;
  readonly average?: number;
}

/** A table whose slices are grouped together with those of others. */
export interface GroupedTable {
  readonly slices: number;
  readonly rows: number;
  /** Its pieces in order, each with its first row. */
  readonly parts: readonly (PartPlace & { readonly start: number })[];
}

/** The table of parts, in the order of the tables and their pieces. */
export function partWords(tables: readonly GroupedTable[]): Uint32Array {
  const words: number[] = [];
  let slice = 0;
  let key = 0;
  for (const { slices, rows, parts } of tables) {
    for (const { start, clip = 0, variable = 0, accumulator = 0, values = 0, average = 0 } of parts) {
      // In the order of `partFields`.
      words.push(slice, key, key + start, clip, variable, accumulator, values, average);
    }
    slice += slices;
    key += rows;
  }
  return Uint32Array.from(words);
}
