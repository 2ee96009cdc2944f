import { LAZY_BLOCK_BYTES } from "@shardgrad/workers";

/**
 * Overwrites that a table with so many rows notes before it catches up with all. That costs its rows: a few of them for
 * each overwrite. Depends on the rows only, as the bits of averages do on when they are caught up.
 */
export function overwriteListLength(rows: number): number {
  return Math.min(16_384, Math.max(64, Math.ceil(rows / 16)));
}

/** Bytes a row, about: its `last` and its share of the list. */
export const LAZY_ROW_BYTES = 5;

/** Bytes beside a segment with so many rows, of a table with `tableRows`: block, list and a `last` for each row. */
export function lazyBytes(rows: number, tableRows: number): number {
  return LAZY_BLOCK_BYTES + 4 * overwriteListLength(tableRows) + 4 * rows;
}
