import { NORM_BLOCK } from "../kernels/table.js";

/** Below this many elements a lane, an array stays whole on one lane. */
const LEAST_SHARD = NORM_BLOCK;
/** Elements of one kernel call: the granularity at which progress is known when a thread is lost. */
const TILE = 131_072;
/** Most calls for one shard, so that programs stay short for huge arrays. */
const MOST_TILES = 64;

export interface Tile {
  readonly lane: number;
  readonly start: number;
  readonly count: number;
}

/**
 * Cuts `count` elements into tiles, each on a fixed lane: the cut depends only on the length, the number of
 * lanes and the variable's pin, so that a shard meets the same caches at every step. Cuts fall on multiples
 * of the norm block, so that partial sums are the same for every number of lanes.
 */
export function tiles(count: number, lanes: number, pin: number): Tile[] {
  const result: Tile[] = [];
  if (lanes === 1 || count < lanes * LEAST_SHARD) {
    cut(result, pin % lanes, 0, count);
    return result;
  }
  const blocks = Math.ceil(count / NORM_BLOCK);
  for (let lane = 0; lane < lanes; lane++) {
    const start = Math.floor((blocks * lane) / lanes) * NORM_BLOCK;
    const end = Math.min(Math.floor((blocks * (lane + 1)) / lanes) * NORM_BLOCK, count);
    cut(result, lane, start, end);
  }
  return result;
}

function cut(result: Tile[], lane: number, start: number, end: number): void {
  const blocks = Math.ceil((end - start) / MOST_TILES / NORM_BLOCK);
  const step = Math.max(TILE, blocks * NORM_BLOCK);
  for (let at = start; at < end; at += step)
    result.push({ lane, start: at, count: Math.min(step, end - at) });
}

/** The same for rows that must stay whole; `start` and `count` are rows. */
export function rowTiles(rows: number, rowSize: number, lanes: number, pin: number): Tile[] {
  const result: Tile[] = [];
  const step = Math.max(1, Math.floor(TILE / rowSize), Math.ceil(rows / lanes / MOST_TILES));
  const shared = lanes > 1 && rows * rowSize >= lanes * LEAST_SHARD;
  for (let i = 0; i < (shared ? lanes : 1); i++) {
    const lane = shared ? i : pin % lanes;
    const end = shared ? Math.floor((rows * (i + 1)) / lanes) : rows;
    for (let at = shared ? Math.floor((rows * i) / lanes) : 0; at < end; at += step) {
      result.push({ lane, start: at, count: Math.min(step, end - at) });
    }
  }
  return result;
}

/**
 * Rows are dealt to lanes in blocks of four cache lines: small, because popular rows often have low numbers and should not
 * meet on one lane (of Zipf's million rows of 64, pages of rows put 61 % of the slices on one of two lanes, these 52 %);
 * not smaller, so that lanes do not write into the same line, nor fetch each other's neighbours.
 */
export function ownerShift(rowBytes: number): number {
  return Math.max(0, Math.ceil(Math.log2(256 / Math.max(rowBytes, 1))));
}

/** Most version words of a segment: 16 KiB, which stay in the caches of the lanes. */
const MOST_VERSIONS = 4096;

/**
 * Less one, the number of version words for `rows` rows. Blocks of rows share a word when there are more of them. A lane
 * owns the blocks of a word together, so that each word has one writer.
 */
export function versionMask(rows: number, rowBytes: number): number {
  const blocks = Math.ceil(rows / 2 ** ownerShift(rowBytes));
  return Math.min(MOST_VERSIONS, 2 ** Math.ceil(Math.log2(Math.max(blocks, 1)))) - 1;
}

/** Whether row work is large enough to be dealt to all lanes. */
export function dealsRows(sliceCount: number, rowSize: number, lanes: number): boolean {
  return lanes > 1 && sliceCount * rowSize >= lanes * LEAST_SHARD;
}
