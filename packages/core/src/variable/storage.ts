import {
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

/** A contiguous part of an array that lies in one memory. */
export interface StorageSegment {
  /** First element of the segment. */
  readonly start: number;
  readonly count: number;
  readonly home: Home;
  readonly block: Block;
  readonly view: TypedArray;
  readonly versions: RowVersions;
}

/** The version words of a segment's row blocks; slots share those of their model variable. */
export interface RowVersions {
  readonly block: Block;
  /** Number of words less one. */
  readonly mask: number;
  /** Arrays that share the words; they are freed with the last. */
  users: number;
}

/** The shared memory of one variable: one segment, or several when it is larger than a memory takes. */
export class Storage {
  readonly segments: readonly StorageSegment[];
  readonly #memory: MemoryPool;
  /** Steps that use the memory now. */
  #users = 0;
  #releaseWanted = false;
  #freed = false;
  readonly #whenFreed: (() => void)[] = [];

  private constructor(memory: MemoryPool, segments: readonly StorageSegment[]) {
    this.#memory = memory;
    this.segments = segments;
  }

  /** Zeroed storage; split between rows where it must be split. */
  static create(memory: MemoryPool, dtype: DType, size: number, rowSize: number): Storage {
    const { bytes } = dtypeInfo[dtype];
    const most = Math.floor(memory.segmentBytes / bytes);
    // A row too long for one memory is split inside; such a variable takes dense gradients only.
    const unit = splitUnit(rowSize, most);
    const step = Math.floor(most / unit) * unit;
    const rowBytes = rowSize * bytes;
    return Storage.#build(memory, dtype, (add) => {
      for (let start = 0; start === 0 || start < size; start += step) {
        const count = Math.min(step, size - start);
        const mask = versionMask(rowSize === 0 ? 0 : Math.ceil(count / rowSize), rowBytes);
        add(memory.reserve(count * bytes), start, count, mask);
      }
    });
  }

  /** Zeroed storage of the same size in the same memories, so that kernels reach both. */
  static beside(memory: MemoryPool, other: Storage, dtype: DType): Storage {
    return Storage.#build(memory, dtype, (add) => {
      for (const { home, start, count, versions } of other.segments) add(home, start, count, versions);
    });
  }

  /** The same with one element for each row of the other, whose segments must be whole rows. */
  static besideRows(
    memory: MemoryPool,
    other: Storage,
    dtype: DType,
    rows: number,
    rowSize: number,
  ): Storage {
    return Storage.#build(memory, dtype, (add) => {
      for (const { home, start, count, versions } of other.segments) {
        if (rowSize === 0) add(home, 0, rows, versions);
        else add(home, start / rowSize, count / rowSize, versions);
      }
    });
  }

  /** Whether no row is cut between two segments. */
  hasWholeRows(rowSize: number): boolean {
    return rowSize === 0 || this.segments.every(({ start }) => start % rowSize === 0);
  }

  static #build(
    memory: MemoryPool,
    dtype: DType,
    fill: (add: (home: Home, start: number, count: number, versions: RowVersions | number) => void) => void,
  ): Storage {
    const segments: StorageSegment[] = [];
    try {
      fill((home, start, count, sharedOrMask) => {
        const versions =
          typeof sharedOrMask === "number" ? newVersions(memory, home, sharedOrMask) : sharedOrMask;
        versions.users++;
        try {
          const block = memory.allocateAt(home, count * dtypeInfo[dtype].bytes);
          const view = viewOf(dtype, memory.bufferOf(home.arena), block.offset, count);
          segments.push({ start, count, home, block, view, versions });
        } catch (error) {
          letGoOf(memory, home, versions);
          throw error;
        }
      });
    } catch (error) {
      for (const segment of segments) freeSegment(memory, segment);
      throw error;
    }
    return new Storage(memory, segments);
  }

  /** Memory is not given back while a step uses it. */
  hold(): void {
    this.#users++;
  }

  letGo(): void {
    this.#users--;
    if (this.#users === 0 && this.#releaseWanted) this.#free();
  }

  /** Calls back when the memory is given back. */
  onFree(callback: () => void): void {
    this.#whenFreed.push(callback);
  }

  release(): void {
    this.#releaseWanted = true;
    if (this.#users === 0) this.#free();
  }

  #free(): void {
    // Once only: by a second time the memory may be somebody else's.
    if (this.#freed) return;
    this.#freed = true;
    for (const callback of this.#whenFreed) callback();
    for (const segment of this.segments) freeSegment(this.#memory, segment);
  }
}

function newVersions(memory: MemoryPool, home: Home, mask: number): RowVersions {
  return { block: memory.allocateAt(home, 4 * (mask + 1)), mask, users: 0 };
}

function freeSegment(memory: MemoryPool, { home, block, versions }: StorageSegment): void {
  memory.releaseAt(home, block);
  letGoOf(memory, home, versions);
}

function letGoOf(memory: MemoryPool, home: Home, versions: RowVersions): void {
  versions.users--;
  if (versions.users === 0) memory.releaseAt(home, versions.block);
}

/**
 * Elements between possible cuts: whole rows, and whole blocks of the sum of squares where both fit, so that
 * the cut does not show in the bits of a norm.
 */
function splitUnit(rowSize: number, most: number): number {
  const row = rowSize <= most ? Math.max(rowSize, 1) : 1;
  const both = row * (NORM_BLOCK / greatestCommonDivisor(row, NORM_BLOCK));
  return both <= most ? both : row;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
