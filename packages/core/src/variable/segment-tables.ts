import { MemoryExhaustedError } from "@shardgrad/workers";
import type { StorageSegment } from "./segments.js";

/** Words of one segment. */
const STRIDE = 8;
const ROWS = 0;
const PLACE = 1;
const LAZY = 3;

/** Segments of one table, as a power of two. */
const SHIFT = 6;
const TABLE_WORDS = STRIDE << SHIFT;
export const TABLE_BYTES = 4 * TABLE_WORDS;

/** Tells a segment from every other one of the variable, later ones at the same address included. */
export type SegmentPlace = readonly [memory: number, serial: number];

export function placeOf({ home, room }: StorageSegment): SegmentPlace {
  return [home.arena.id, room.serial];
}

/**
 * The part of a variable's header that is about each segment. The first table lies in the header itself, further ones in
 * buffers of their own: a handle carries those that there are, which are enough for the segments that it knows. Written by
 * the owner only, between `beginWrite` and `endWrite` of the header.
 */
export class SegmentTables {
  readonly #tables: Int32Array[];

  /** @param byteOffset - where the first table begins in the header */
  constructor(header: SharedArrayBuffer, byteOffset: number, further: readonly SharedArrayBuffer[] = []) {
    this.#tables = [
      new Int32Array(header, byteOffset, TABLE_WORDS),
      ...further.map((buffer) => new Int32Array(buffer)),
    ];
  }

  /** The tables that do not lie in the header. */
  get further(): SharedArrayBuffer[] {
    return this.#tables.slice(1).map(({ buffer }) => buffer as SharedArrayBuffer);
  }

  /** Makes tables for so many segments; those that are not used after all do no harm. @throws MemoryExhaustedError */
  makeRoom(segments: number): void {
    try {
      while (this.#tables.length << SHIFT < segments)
        this.#tables.push(new Int32Array(new SharedArrayBuffer(TABLE_BYTES)));
    } catch (error) {
      if (error instanceof RangeError) throw new MemoryExhaustedError(TABLE_BYTES);
      throw error;
    }
  }

  /** Whether a segment still is the one of that place; false for one of a table that this thread does not have. */
  isAt(segment: number, [memory, serial]: SegmentPlace): boolean {
    const table = this.#tables[segment >> SHIFT];
    const at = atOf(segment) + PLACE;
    return (
      table !== undefined && Atomics.load(table, at) === memory && Atomics.load(table, at + 1) === serial
    );
  }

  rows(segment: number): number {
    return Atomics.load(this.#tables[segment >> SHIFT]!, atOf(segment) + ROWS) >>> 0;
  }

  lazy(segment: number): number {
    return Atomics.load(this.#tables[segment >> SHIFT]!, atOf(segment) + LAZY) >>> 0;
  }

  publish(segment: number, [memory, serial]: SegmentPlace, rows: number): void {
    const table = this.#tables[segment >> SHIFT]!;
    const at = atOf(segment);
    Atomics.store(table, at + PLACE, memory);
    Atomics.store(table, at + PLACE + 1, serial);
    Atomics.store(table, at + ROWS, rows);
  }

  /** Returns what was there before. */
  setLazy(segment: number, offset: number): number {
    return Atomics.exchange(this.#tables[segment >> SHIFT]!, atOf(segment) + LAZY, offset);
  }
}

/** Position of a segment's words in its table. */
function atOf(segment: number): number {
  return (segment * STRIDE) & (TABLE_WORDS - 1);
}
