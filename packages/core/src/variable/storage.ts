import type { DType, MemoryPool, TypedArray } from "@shardgrad/workers";
import { refuseBeyondMachine } from "./machine-memory.js";
import type { StoragePlan } from "./resize-plan.js";
import {
  cutsOf,
  freeSegments,
  makeSegments,
  type Placement,
  placed,
  type StorageSegment,
} from "./segments.js";

export type { RowVersions, StorageSegment } from "./segments.js";

/** A segment is given room up to the next possible cut where that is at most this share of it. */
const CHEAP = 1 / 16;

/** The shared memory of one variable: one segment, or several when it is larger than a memory takes or has grown. */
export class Storage {
  readonly memory: MemoryPool;
  readonly dtype: DType;
  #segments: readonly StorageSegment[];
  /** Steps that use the memory now. */
  #users = 0;
  #releaseWanted = false;
  #freed = false;
  readonly #whenFreed: (() => void)[] = [];

  private constructor(memory: MemoryPool, dtype: DType, placements: Iterable<Placement>) {
    this.memory = memory;
    this.dtype = dtype;
    this.#segments = makeSegments(memory, dtype, placements, true);
  }

  /** All but the last are full. */
  get segments(): readonly StorageSegment[] {
    return this.#segments;
  }

  /**
   * Zeroed storage; split between rows where it must be split.
   * @param reserve - elements that the last segment has room for, as far as a memory takes them
   */
  static create(memory: MemoryPool, dtype: DType, size: number, rowSize: number, reserve = 0): Storage {
    refuseBeyondMachine(dtype, size);
    return new Storage(memory, dtype, freshPlacements(memory, dtype, size, rowSize, reserve));
  }

  /** Zeroed storage of the same size in the same memories, so that kernels reach both. */
  static beside(other: Storage, dtype: DType): Storage {
    return new Storage(
      other.memory,
      dtype,
      other.segments.map(({ home, start, count, room: { capacity }, versions }) => ({
        ...{ home, start, count, capacity, versions },
      })),
    );
  }

  /** The same with one element for each row of the other, whose segments must be whole rows of some elements. */
  static besideRows(other: Storage, dtype: DType, rowSize: number): Storage {
    return new Storage(
      other.memory,
      dtype,
      other.segments.map((segment) => rowPlacement(segment, rowSize)),
    );
  }

  /** Whether no row is cut between two segments. */
  hasWholeRows(rowSize: number): boolean {
    return rowSize === 0 || this.segments.every(({ start }) => start % rowSize === 0);
  }

  /** Whether a step or a resize uses the memory now. */
  get inUse(): boolean {
    return this.#users > 0;
  }

  /** Takes the segments of a plan, and gives back those that it drops. */
  publish({ kept, segments }: StoragePlan): void {
    const dropped = this.#segments.slice(kept);
    // A device would know segments of another size.
    this.#segments.slice(0, kept).forEach(({ home, block }, i) => {
      if (segments[i] !== this.#segments[i]) this.memory.residency?.released(home.arena.id, block.offset);
    });
    this.#segments = segments;
    freeSegments(this.memory, dropped);
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

  /** @throws StaleValuesError when a device has changed the elements since the host's copies were current */
  refuseStale(): void {
    const { residency } = this.memory;
    if (residency === undefined) return;
    for (const { home, block } of this.#segments) residency.hostRead(home.arena.id, block.offset);
  }

  /**
   * Copies the current values that are on a device, and with them what the host has. `target` has an element for each of
   * the storage's.
   */
  async readDevice(target: TypedArray): Promise<void> {
    const { buffer, byteOffset, BYTES_PER_ELEMENT } = target;
    // Asked of all before the first is waited for: no step comes in between.
    const coming = this.#segments.map((segment) => {
      const { start, count, home, block } = segment;
      const at = byteOffset + start * BYTES_PER_ELEMENT;
      const bytes = new Uint8Array(buffer, at, count * BYTES_PER_ELEMENT);
      const fromDevice = this.memory.residency?.read(home.arena.id, block.offset, bytes);
      if (fromDevice === undefined) target.set(segment.view, start);
      return fromDevice;
    });
    await Promise.all(coming);
  }

  #free(): void {
    // Once only: by a second time the memory may be somebody else's.
    if (this.#freed) return;
    this.#freed = true;
    for (const callback of this.#whenFreed) callback();
    freeSegments(this.memory, this.#segments);
  }
}

/** Where the elements go that belong to the rows of another storage's segment, one for each. */
export function rowPlacement(
  { home, start, count, room, versions }: StorageSegment,
  rowSize: number,
): Placement {
  const capacity = room.capacity / rowSize;
  return { home, start: start / rowSize, count: count / rowSize, capacity, versions };
}

function* freshPlacements(
  memory: MemoryPool,
  dtype: DType,
  size: number,
  rowSize: number,
  reserve: number,
): Generator<Placement> {
  const { unit, most } = cutsOf(memory, dtype, rowSize);
  for (let start = 0; start === 0 || start < size; start += most) {
    const count = Math.min(most, size - start);
    const rounded = Math.ceil(count / unit) * unit;
    const capacity = Math.max(
      rounded - count <= count * CHEAP ? rounded : count,
      Math.min(most, reserve - start),
    );
    yield placed(memory, dtype, rowSize, { start, count, capacity }, size);
  }
}
