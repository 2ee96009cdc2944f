import type { DeviceArray } from "./device-arrays.js";
import type { Place } from "./device-heap.js";

/** Bytes of rows that one launch gathers. */
export const GATHER_BYTES = 64 << 20;

/** Rows that one launch gathers from one piece of an array. */
export interface GatherPart {
  readonly place: Place;
  /** Row numbers within the piece. */
  readonly rows: Uint32Array;
  /** Where they go among all rows that were asked for; undefined: all of them, in order. */
  readonly positions: Uint32Array | undefined;
}

/** Takes a list of rows apart by the pieces of an array, and into parts of at most `most` rows. */
export function* gatherParts(
  { pieces }: DeviceArray,
  rowSize: number,
  rows: Uint32Array,
  most: number,
): Generator<GatherPart> {
  if (pieces.length === 1 && rows.length <= most) {
    if (rows.length > 0) yield { place: pieces[0]!.place, rows, positions: undefined };
    return;
  }
  for (const { place, start, count } of pieces) {
    const first = start / rowSize;
    const end = (start + count) / rowSize;
    const positions = Uint32Array.from(rows.keys()).filter((i) => rows[i]! >= first && rows[i]! < end);
    for (let at = 0; at < positions.length; at += most) {
      const part = positions.subarray(at, at + most);
      yield { place, rows: part.map((i) => rows[i]! - first), positions: part };
    }
  }
}
