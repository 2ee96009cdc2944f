import {
  type Block,
  type DType,
  dtypeInfo,
  type Home,
  type MemoryPool,
  NORM_BLOCK,
  type TypedArray,
  viewOf,
} from "@shardgrad/workers";

/** A contiguous part of an array that lies in one memory. */
export interface StorageSegment {
  /** First element of the segment. */
  readonly start: number;
  readonly count: number;
  readonly home: Home;
  readonly block: Block;
  /** Live elements. @throws StaleValuesError when a device has changed them since the host's copy was current */
  readonly view: TypedArray;
}

/** A segment whose elements may leave for a device: who asks for them here is told when they did. */
class GuardedSegment implements StorageSegment {
  readonly #memory: MemoryPool;
  readonly #view: TypedArray;

  constructor(
    memory: MemoryPool,
    readonly start: number,
    readonly count: number,
    readonly home: Home,
    readonly block: Block,
    dtype: DType,
  ) {
    this.#memory = memory;
    this.#view = viewOf(dtype, memory.bufferOf(home.arena), block.offset, count);
  }

  get view(): TypedArray {
    this.#memory.residency?.hostAccess(this.home.arena.id, this.block.offset);
    return this.#view;
  }
}

/** The shared memory of one variable: one segment, or several when it is larger than a memory takes. */
export class Storage {
  readonly segments: readonly StorageSegment[];
  readonly #memory: MemoryPool;
  /** Steps that use the memory now. */
  #users = 0;
  #releaseWanted = false;
  #freed = false;

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
    return Storage.#build(memory, (add) => {
      for (let start = 0; start === 0 || start < size; start += step) {
        const count = Math.min(step, size - start);
        add(memory.reserve(count * bytes), start, count, dtype);
      }
    });
  }

  /** Zeroed storage of the same size in the same memories, so that kernels reach both. */
  static beside(memory: MemoryPool, other: Storage, dtype: DType): Storage {
    return Storage.#build(memory, (add) => {
      for (const { home, start, count } of other.segments) add(home, start, count, dtype);
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
    return Storage.#build(memory, (add) => {
      for (const { home, start, count } of other.segments) {
        if (rowSize === 0) add(home, 0, rows, dtype);
        else add(home, start / rowSize, count / rowSize, dtype);
      }
    });
  }

  /** Whether no row is cut between two segments. */
  hasWholeRows(rowSize: number): boolean {
    return rowSize === 0 || this.segments.every(({ start }) => start % rowSize === 0);
  }

  static #build(
    memory: MemoryPool,
    fill: (add: (home: Home, start: number, count: number, dtype: DType) => void) => void,
  ): Storage {
    const segments: StorageSegment[] = [];
    try {
      fill((home, start, count, dtype) => {
        const block = memory.allocateAt(home, count * dtypeInfo[dtype].bytes);
        segments.push(new GuardedSegment(memory, start, count, home, block, dtype));
      });
    } catch (error) {
      for (const { home, block } of segments) memory.releaseAt(home, block);
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

  release(): void {
    this.#releaseWanted = true;
    if (this.#users === 0) this.#free();
  }

  #free(): void {
    // Once only: by a second time the memory may be somebody else's.
    if (this.#freed) return;
    this.#freed = true;
    for (const { home, block } of this.segments) {
      this.#memory.residency?.released(home.arena.id, block.offset);
      this.#memory.releaseAt(home, block);
    }
  }

  /** Copies the current values, wherever they are. `target` has an element for each of the storage's. */
  async read(target: TypedArray): Promise<void> {
    const { buffer, byteOffset, BYTES_PER_ELEMENT } = target;
    this.hold();
    try {
      // Asked of all before the first is waited for: no step comes in between.
      const coming = this.segments.map((segment) => {
        const { start, count, home, block } = segment;
        const at = byteOffset + start * BYTES_PER_ELEMENT;
        const bytes = new Uint8Array(buffer, at, count * BYTES_PER_ELEMENT);
        const fromDevice = this.#memory.residency?.read(home.arena.id, block.offset, bytes);
        if (fromDevice === undefined) target.set(segment.view, start);
        return fromDevice;
      });
      await Promise.all(coming);
    } finally {
      this.letGo();
    }
  }
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
