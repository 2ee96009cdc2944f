/**
 * A lazy block: what kernels and readers know of the averages of one segment of a table that are brought up to date when
 * a row is touched. It lies in the segment's memory, beside one u32 a row, its `last`: the averages that the row has.
 *
 *   u32  0 clock: averages of the table until now     4 floor: every row has at least so many
 *        8 overwrites: entries of their list         12 kind of the running step's average (averageKinds)
 *       16 offset of the average                     20 offset of `last`
 *       24 offset of the overwrites: the clocks after which rows took their averages' values, ascending
 *   f64 32 momentum   40 complement   64 powers[4][256]: momentum^(digit * 256^place)
 *
 * A row with max(last, floor) >= clock is up to date. Otherwise k averages are missing, up to the first overwrite after
 * it where there is one (from then on the row and its average stay the same), and
 *   p = momentum^k   q = complement * (1 - p) / (1 - momentum)   average = p * average + q * row.
 */
export const LAZY_BLOCK_BYTES = 64 + 4 * 256 * 8;

/** Positions of the 32-bit words of a lazy block. */
export const lazyWords = {
  clock: 0,
  floor: 1,
  overwrites: 2,
  kind: 3,
  average: 4,
  last: 5,
  list: 6,
} as const;
/** In a word of BehindRows: an overwrite is due. */
export const OVERWRITE_FLAG = 2 ** 31;

/** Positions of the float64 numbers of a lazy block, in units of eight bytes. */
export const lazyNumbers = { momentum: 4, complement: 5, powers: 8 } as const;

/** momentum^(digit * 256^place), for the four places of a u32. */
export function powerTable(momentum: number): Float64Array {
  return Float64Array.from({ length: 4 * 256 }, (_, i) => momentum ** ((i & 255) * 256 ** (i >> 8)));
}
