import type { MemoryPool } from "@shardgrad/workers";
import type { Fill, PendingFill } from "./initializers.js";
import { refuseBeyondMachine } from "./machine-memory.js";
import {
  cutsOf,
  freeSegments,
  makeSegments,
  type Placement,
  placed,
  type StorageSegment,
  segmentOf,
} from "./segments.js";
import type { Storage } from "./storage.js";

/** Fewest elements of a segment that a growth adds: tables that start tiny get few segments, too. */
const LEAST_GROWTH = 4096;

/** The segments that a storage is to have. Nothing of it shows before {@link Storage.publish}. */
export interface StoragePlan {
  /** So many segments stay, perhaps with another number of elements; the rest of the old ones is dropped. */
  readonly kept: number;
  /** Those that stay, then new ones. */
  readonly segments: readonly StorageSegment[];
}

/**
 * The segments of a storage that is to have `size` elements. What there is never moves: the last segment's room is
 * used first, then segments are added.
 *
 * @param generous - a new segment gets room for half as many elements as there are, so that the number of segments
 *   grows with the logarithm of the size. Only address space is taken: nobody touches the pages.
 * @throws MemoryExhaustedError; nothing was taken then
 */
export function planResize(storage: Storage, size: number, rowSize: number, generous: boolean): StoragePlan {
  const old = storage.segments;
  const last = old[old.length - 1]!;
  const present = last.start + last.count;
  if (size <= present) {
    const kept = Math.max(1, old.filter(({ start }) => start < size).length);
    const end = old[kept - 1]!;
    return { kept, segments: [...old.slice(0, kept - 1), resized(storage, end, size - end.start)] };
  }
  refuseBeyondMachine(storage.dtype, size);
  // A variable without rows, and without the room for them, starts anew rather than behind an empty segment.
  const anew = present === 0 && size > last.room.capacity;
  const kept = anew
    ? []
    : [...old.slice(0, -1), resized(storage, last, Math.min(size - last.start, last.room.capacity))];
  const end = kept[kept.length - 1];
  const from = end === undefined ? 0 : end.start + end.count;
  const more = additions(storage, from, size, rowSize, generous ? present / 2 : 0);
  return {
    kept: kept.length,
    segments: [...kept, ...makeSegments(storage.memory, storage.dtype, more, false)],
  };
}

function* additions(
  { memory, dtype }: Storage,
  from: number,
  size: number,
  rowSize: number,
  least: number,
): Generator<Placement> {
  const { unit, row, most } = cutsOf(memory, dtype, rowSize);
  for (let start = from; start < size; ) {
    const needed = size - start;
    const wanted = least === 0 ? needed : Math.max(needed, least, LEAST_GROWTH);
    const step = unit <= wanted && least > 0 ? unit : row;
    const capacity = Math.min(most, Math.ceil(wanted / step) * step);
    const count = Math.min(capacity, needed);
    yield placed(memory, dtype, rowSize, { start, count, capacity }, size);
    start += count;
  }
}

/**
 * The same for a storage that lies beside another one, which has a plan.
 * @param placement - where its part beside a segment of the other goes
 */
export function planBeside(
  storage: Storage,
  { kept, segments }: StoragePlan,
  placement: (segment: StorageSegment) => Placement,
): StoragePlan {
  const places = segments.map(placement);
  const stay = storage.segments
    .slice(0, kept)
    .map((segment, i) => resized(storage, segment, places[i]!.count));
  return {
    kept,
    segments: [...stay, ...makeSegments(storage.memory, storage.dtype, places.slice(kept), false)],
  };
}

/** Gives back what a plan took that is not published. */
export function discard(memory: MemoryPool, { kept, segments }: StoragePlan): void {
  freeSegments(memory, segments.slice(kept));
}

function resized({ dtype, memory }: Storage, segment: StorageSegment, count: number): StorageSegment {
  if (count === segment.count) return segment;
  const { start, home, block, versions, room } = segment;
  return segmentOf(memory, dtype, { start, count, home, block, versions, room });
}

/** New elements of a segment, counted from its first. */
export interface NewElements {
  readonly segment: StorageSegment;
  /** Position of the segment. */
  readonly index: number;
  readonly from: number;
}

/** Those of each segment that has some. */
export function newElements(storage: Storage, { kept, segments }: StoragePlan): NewElements[] {
  return segments.flatMap((segment, index) => {
    const from = index < kept ? storage.segments[index]!.count : 0;
    return segment.count > from ? [{ segment, index, from }] : [];
  });
}

/** What fills the new elements by a rule that counts from the first of them. @param fill - undefined: zeros */
export function fillsOf(added: readonly NewElements[], fill: Fill | undefined): PendingFill[] {
  const first = added[0] === undefined ? 0 : added[0].segment.start + added[0].from;
  return added.flatMap(({ segment: { start, count, view, room }, from }) => {
    // What no row ever had is zero, and stays untouched so that it takes no memory.
    const end = fill === undefined ? Math.min(count, room.clean) : count;
    room.clean = Math.max(room.clean, count);
    if (end <= from) return [];
    return [{ view: view.subarray(from, end), start: start + from - first, fill: fill ?? zeros }];
  });
}

const zeros: Fill = (view) => {
  view.fill(0);
};
