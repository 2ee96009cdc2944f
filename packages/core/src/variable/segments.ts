import {
  ARRAYS_BESIDE,
  type Block,
  type DType,
  dtypeInfo,
  type Home,
  type MemoryPool,
  NORM_BLOCK,
  type TypedArray,
  versionMask,
  viewOf,
} from "@shardgrad/workers";
import { LAZY_ROW_BYTES, lazyBytes } from "./lazy-room.js";

/** A contiguous part of an array that lies in one memory. A resize replaces the object, never its memory. */
export interface StorageSegment {
  /** First element of the segment. */
  readonly start: number;
  readonly count: number;
  readonly home: Home;
  readonly block: Block;
  /**
   * Live elements, which the caller may write. @throws StaleValuesError when a device has changed them since the host's
   * copy was current
   */
  readonly view: TypedArray;
  readonly versions: RowVersions;
  readonly room: SegmentRoom;
}

/**
 * A segment whose elements may leave for a device: who asks for them here is told when they did. A class, as object
 * literals with an accessor are each of a hidden class of their own, and steps look at every segment.
 */
class GuardedSegment implements StorageSegment {
  readonly start: number;
  readonly count: number;
  readonly home: Home;
  readonly block: Block;
  readonly versions: RowVersions;
  readonly room: SegmentRoom;
  readonly #memory: MemoryPool;
  readonly #view: TypedArray;

  constructor(memory: MemoryPool, dtype: DType, segment: Omit<StorageSegment, "view">) {
    this.start = segment.start;
    this.count = segment.count;
    this.home = segment.home;
    this.block = segment.block;
    this.versions = segment.versions;
    this.room = segment.room;
    this.#memory = memory;
    this.#view = viewOf(dtype, memory.bufferOf(this.home.arena), this.block.offset, this.count);
  }

  get view(): TypedArray {
    this.#memory.residency?.hostAccess(this.home.arena.id, this.block.offset);
    return this.#view;
  }
}

export function segmentOf(
  memory: MemoryPool,
  dtype: DType,
  segment: Omit<StorageSegment, "view">,
): StorageSegment {
  return new GuardedSegment(memory, dtype, segment);
}

/** What a segment's block has room for; the same object for all sizes that the segment takes. */
export interface SegmentRoom {
  /** Another number for each segment that is made; readers on other threads tell them apart by it. */
  readonly serial: number;
  /** Elements that fit; whole rows where a row fits into a memory. */
  readonly capacity: number;
  /** The elements from here on are zero still: no row ever had them. */
  clean: number;
}

/** The version words of a segment's row blocks, for its capacity; slots share those of their model variable. */
export interface RowVersions {
  readonly block: Block;
  /** Number of words less one. */
  readonly mask: number;
  /** Arrays that share the words; they are freed with the last. */
  users: number;
}

/** Where a segment is to lie. */
export interface Placement {
  readonly home: Home;
  readonly start: number;
  readonly count: number;
  readonly capacity: number;
  /** Words to share, or the mask of new ones. */
  readonly versions: RowVersions | number;
}

let serials = 0;

function makeSegment(
  memory: MemoryPool,
  dtype: DType,
  { home, start, count, capacity, versions: sharedOrMask }: Placement,
  zeroed: boolean,
): StorageSegment {
  const { bytes } = dtypeInfo[dtype];
  const versions = typeof sharedOrMask === "number" ? newVersions(memory, home, sharedOrMask) : sharedOrMask;
  versions.users++;
  try {
    const block = memory.allocateAt(home, capacity * bytes, zeroed ? count * bytes : false);
    serials = (serials + 1) | 0;
    const room = {
      serial: serials,
      capacity,
      clean: Math.max(zeroed ? count : 0, Math.ceil(block.cleanFrom / bytes)),
    };
    return segmentOf(memory, dtype, { start, count, home, block, versions, room });
  } catch (error) {
    letGoOf(memory, home, versions);
    throw error;
  }
}

/**
 * Several segments, or none.
 * @param zeroed - whether their elements are zero; else `room.clean` says from where on
 * @throws MemoryExhaustedError
 */
export function makeSegments(
  memory: MemoryPool,
  dtype: DType,
  placements: Iterable<Placement>,
  zeroed: boolean,
): StorageSegment[] {
  const made: StorageSegment[] = [];
  try {
    for (const placement of placements) made.push(makeSegment(memory, dtype, placement, zeroed));
  } catch (error) {
    freeSegments(memory, made);
    throw error;
  }
  return made;
}

export function freeSegments(memory: MemoryPool, segments: readonly StorageSegment[]): void {
  for (const { home, block, versions } of segments) {
    const free = () => {
      memory.releaseAt(home, block);
      letGoOf(memory, home, versions);
    };
    if (!memory.residency?.released(home.arena.id, block.offset, free)) free();
  }
}

function newVersions(memory: MemoryPool, home: Home, mask: number): RowVersions {
  return { block: memory.allocateAt(home, 4 * (mask + 1)), mask, users: 0 };
}

function letGoOf(memory: MemoryPool, home: Home, versions: RowVersions): void {
  versions.users--;
  if (versions.users === 0) memory.releaseAt(home, versions.block);
}

/** What a memory has to spare beside a segment of full size, for each of its bytes. */
const SPARE_SHARE = 0.2;

/** How a variable may be cut into segments. */
export interface Cuts {
  /** Elements between possible cuts: whole rows, and whole norm blocks where both fit. */
  readonly unit: number;
  /** Elements of a whole row, or 1 where a row is cut. */
  readonly row: number;
  /** Most elements of a segment. */
  readonly most: number;
}

/**
 * Cuts between whole rows, and on whole blocks of the sum of squares where both fit, so that the cut does not show in
 * the bits of a norm. A row too long for one memory is cut inside; such a variable takes dense gradients only.
 */
export function cutsOf(memory: MemoryPool, dtype: DType, rowSize: number): Cuts {
  const { bytes } = dtypeInfo[dtype];
  // What a memory has to spare takes the few bytes a row that lazy averages need, unless rows are short. Vectors are not
  // cut for their sake.
  const beyond = Math.max(0, LAZY_ROW_BYTES / rowSize - SPARE_SHARE * bytes);
  const short = rowSize > 1 ? beyond / ARRAYS_BESIDE : 0;
  const fits = Math.floor(memory.segmentBytes / (bytes + short));
  const row = rowSize <= fits ? Math.max(rowSize, 1) : 1;
  const both = row * (NORM_BLOCK / greatestCommonDivisor(row, NORM_BLOCK));
  const unit = both <= fits ? both : row;
  return { unit, row, most: Math.floor(fits / unit) * unit };
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/**
 * Where a segment with room of its own goes.
 * @param size - elements of the variable
 */
export function placed(
  memory: MemoryPool,
  dtype: DType,
  rowSize: number,
  part: Pick<Placement, "start" | "count" | "capacity">,
  size: number,
): Placement {
  const { bytes } = dtypeInfo[dtype];
  const rows = rowSize === 0 ? 0 : Math.ceil(part.capacity / rowSize);
  const versions = versionMask(rows, rowSize * bytes);
  const more = 4 * (versions + 1) + lazyBytes(rows, rowSize === 0 ? 0 : size / rowSize);
  return { ...part, home: memory.reserve(part.capacity * bytes, more), versions };
}
