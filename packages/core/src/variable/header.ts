import { threadId } from "node:worker_threads";
import type { StorageSegment } from "./storage.js";

/**
 * What readers on other threads must know of a variable and what can change later: a SharedArrayBuffer of its own, so
 * that it outlives the variable's memory.
 *
 * Invariants
 * - Only the owner, the thread of the variable, writes here.
 * - WHOLE (in a model variable's header) is odd while rows of the variable may be written without their version words:
 *   by dense steps, overwrites of whole tables, `assign`, JavaScript updates. It is larger afterwards. SLOTS is the same
 *   for all slots beside the variable. The words of row blocks (versions.ts of the kernels) do the rest.
 * - ALIVE becomes 0 before the memory can be used for anything else.
 * - A segment's memory never moves. PLACE tells a segment from a later one of the same number.
 * - A table of segments lies behind the words. When a variable grows beyond its room a larger one is made; the old ones
 *   are kept up to date as far as they reach, for those who have them.
 *
 * Order: a writer makes the word odd, then loads it, which no later store passes; it makes the word even by an atomic
 * addition, which no earlier store passes. The lanes' stores lie between the two, as ringing them and hearing that
 * they are done is sequentially consistent. Readers: see row-reader.ts.
 */
const ALIVE = 0;
export const WHOLE = 1;
export const SLOTS = 2;
const ROWS = 3;
/** Segments with a lazy block. */
const LAZIES = 4;
const OWNER = 5;
const IDENTITY = 6;
/** Larger after each change of rows and segments. */
const LAYOUT = 8;
const WORDS = 16;

// The table: how many segments, then for each
const STRIDE = 8;
const SEGMENT_ROWS = 1;
/** Memory, offset of the elements and of the version words: where the segment lies. */
const PLACE = 2;
const LAZY = 5;

/** Whether values are written by a device, by JavaScript within one call, or by JavaScript with pauses. */
export type WriteKind = "device" | "script" | "paused";

/** The shared memory of a header. */
export interface HeaderBuffers {
  readonly words: SharedArrayBuffer;
  /** The words of the model variable's header: its own, but for a slot. */
  readonly guard: SharedArrayBuffer;
  readonly table: SharedArrayBuffer;
  readonly isSlot: boolean;
}

/** The header as every thread reads it. */
export class SharedHeader {
  readonly #words: Int32Array;
  #table: Int32Array;
  /** The header of the model variable, whose words guard the slots beside it too. */
  readonly guard: Int32Array;
  readonly isSlot: boolean;

  constructor({ words, guard, table, isSlot }: HeaderBuffers) {
    this.#words = new Int32Array(words);
    this.#table = new Int32Array(table, table === words ? 4 * WORDS : 0);
    this.guard = isSlot ? new Int32Array(guard) : this.#words;
    this.isSlot = isSlot;
  }

  /** What another thread makes its header of. */
  get buffers(): HeaderBuffers {
    const shared = ({ buffer }: Int32Array) => buffer as SharedArrayBuffer;
    const { guard, isSlot } = this;
    return { words: shared(this.#words), guard: shared(guard), table: shared(this.#table), isSlot };
  }

  protected get words(): Int32Array {
    return this.#words;
  }

  protected get table(): Int32Array {
    return this.#table;
  }

  protected set table(table: Int32Array) {
    this.#table = table;
  }

  /** False once the variable was disposed. */
  get alive(): boolean {
    return Atomics.load(this.#words, ALIVE) === 1;
  }

  /** False once the variable that a slot stands beside was disposed. */
  get modelAlive(): boolean {
    return Atomics.load(this.guard, ALIVE) === 1;
  }

  /** Rows of the variable now; 1 for a scalar. */
  get rows(): number {
    return Atomics.load(this.#words, ROWS) >>> 0;
  }

  /** Another number when rows or segments have changed. */
  get layout(): number {
    return Atomics.load(this.#words, LAYOUT);
  }

  /** Rows of a segment now, if it still lies at that place; 0 otherwise. */
  rowsOf(segment: number, place: SegmentPlace): number {
    const table = this.#table;
    if (segment >= Atomics.load(table, 0)) return 0;
    const at = STRIDE * segment;
    for (let i = 0; i < place.length; i++) if (Atomics.load(table, at + PLACE + i) !== place[i]) return 0;
    return Atomics.load(table, at + SEGMENT_ROWS) >>> 0;
  }

  /** Whether some segment has a lazy block. */
  get lazy(): boolean {
    return Atomics.load(this.#words, LAZIES) !== 0;
  }

  /** Byte offset of a segment's lazy block; 0 where its averages are kept at every step. */
  lazyOf(segment: number): number {
    return Atomics.load(this.#table, STRIDE * segment + LAZY) >>> 0;
  }

  /** The owner's header, where this thread is the owner and handed the variable out. */
  get owner(): VariableHeader | undefined {
    if (Atomics.load(this.#words, OWNER) !== threadId) return undefined;
    return owners.get(identityOf(this.#words))?.deref();
  }
}

export type SegmentPlace = readonly [memory: number, offset: number, versions: number];

/** Units that fit into an Int32: blocks lie at multiples of 64 bytes. */
export function placeOf({ home, block, versions }: StorageSegment): SegmentPlace {
  return [home.arena.id, block.offset / 64, versions.block.offset / 64];
}

class OpenWrites {
  count = 0;
  paused = 0;
}

/** What the owner does with its header. */
export class VariableHeader extends SharedHeader {
  /** The table of now and those that were too small. */
  readonly #tables: Int32Array[] = [];
  /** Of the variable, and of the slots beside it. */
  readonly #openWrites: readonly [OpenWrites, OpenWrites];
  /** Waits until no lane runs; false when they do not end. */
  readonly settle: () => boolean;
  /** The kernels' `ownerShift` of the rows that the version words are about: the model variable's. */
  readonly shift: number;

  private constructor(
    segments: number,
    shift: number,
    settle: () => boolean,
    model: VariableHeader | undefined,
  ) {
    const words = new SharedArrayBuffer(4 * (WORDS + tableWords(segments)));
    const guard = model === undefined ? words : (model.guard.buffer as SharedArrayBuffer);
    super({ words, guard, table: words, isSlot: model !== undefined });
    this.#tables.push(this.table);
    this.#openWrites = model === undefined ? [new OpenWrites(), new OpenWrites()] : model.#openWrites;
    this.settle = settle;
    this.shift = shift;
    this.words[OWNER] = threadId;
    Atomics.store(this.words, ALIVE, 1);
  }

  static create(segments: number, shift: number, settle: () => boolean): VariableHeader {
    return new VariableHeader(segments, shift, settle, undefined);
  }

  /** The header of a slot that shares the version words of its model variable. */
  static beside(model: VariableHeader, segments: number): VariableHeader {
    return new VariableHeader(segments, model.shift, model.settle, model);
  }

  /**
   * Tells the readers of rows and segments. After the memory of new rows has its values; for rows that go, before their
   * memory is given back and within `beginWrite` and `endWrite`.
   * @param rowSize - elements of a row
   */
  publish(rows: number, rowSize: number, segments: readonly StorageSegment[]): void {
    this.#ensureRoom(segments.length);
    for (const table of this.#tables) {
      const room = Math.min(segments.length, roomOf(table));
      for (let i = 0; i < room; i++) {
        const segment = segments[i]!;
        const at = STRIDE * i;
        placeOf(segment).forEach((word, k) => {
          Atomics.store(table, at + PLACE + k, word);
        });
        const segmentRows = rowSize === 0 ? rows : Math.floor(segment.count / rowSize);
        Atomics.store(table, at + SEGMENT_ROWS, segmentRows);
      }
      Atomics.store(table, 0, room);
    }
    Atomics.store(this.words, ROWS, rows);
    Atomics.add(this.words, LAYOUT, 1);
  }

  #ensureRoom(segments: number): void {
    if (roomOf(this.table) >= segments) return;
    const larger = new Int32Array(new SharedArrayBuffer(4 * tableWords(2 * segments)));
    larger.set(this.table);
    this.table = larger;
    this.#tables.push(larger);
  }

  /**
   * Tells readers that a segment's average is kept lazily, by the block at a byte offset of the segment's memory (0: no
   * longer). Called for the variable and for its average, each time between `beginWrite` and `endWrite` of both; so are
   * all changes of the block but those of a sparse step.
   */
  setLazy(segment: number, offset: number): void {
    this.#ensureRoom(segment + 1);
    const before = Atomics.load(this.table, STRIDE * segment + LAZY);
    for (const table of this.#tables) {
      if (segment < roomOf(table)) Atomics.store(table, STRIDE * segment + LAZY, offset);
    }
    Atomics.add(this.words, LAZIES, Number(offset !== 0) - Number(before !== 0));
  }

  /**
   * Rows may be written from now on without their version words. Nests; `endWrite` with the same arguments ends it.
   * @param slots - whether it is about the slots beside a model variable
   */
  beginWrite(kind: WriteKind, slots = this.isSlot): void {
    const open = this.#openWrites[slots ? 1 : 0];
    if (kind === "paused") open.paused++;
    if (open.count++ > 0) return;
    const word = slots ? SLOTS : WHOLE;
    Atomics.add(this.guard, word, 1);
    Atomics.load(this.guard, word);
  }

  endWrite(kind: WriteKind, slots = this.isSlot): void {
    const open = this.#openWrites[slots ? 1 : 0];
    if (kind === "paused") open.paused--;
    if (--open.count === 0) Atomics.add(this.guard, slots ? SLOTS : WHOLE, 1);
  }

  /** Whether JavaScript of this thread is part way through the values of the variable or its slots. */
  get pausedWrites(): { variable: boolean; slots: boolean } {
    const [variable, slots] = this.#openWrites;
    return { variable: variable.paused > 0, slots: slots.paused > 0 };
  }

  override get owner(): VariableHeader {
    return this;
  }

  /** Other copies of the header in this thread then know their owner. */
  handedOut(): void {
    if (this.words[IDENTITY] !== 0) return;
    this.words[IDENTITY] = 1 + Math.floor(Math.random() * 0x7fff_fffe);
    this.words[IDENTITY + 1] = Math.floor(Math.random() * 0x7fff_fffe);
    const identity = identityOf(this.words);
    owners.set(identity, new WeakRef(this));
    forgotten.register(this, identity);
  }

  /** Before the memory is given back. */
  dispose(): void {
    Atomics.store(this.words, ALIVE, 0);
  }
}

/** Words of a table with room for so many segments. */
function tableWords(segments: number): number {
  return 1 + STRIDE * Math.max(1, segments);
}

function roomOf(table: Int32Array): number {
  return (table.length - 1) / STRIDE;
}

const owners = new Map<string, WeakRef<VariableHeader>>();
const forgotten = new FinalizationRegistry<string>((identity) => owners.delete(identity));

function identityOf(words: Int32Array): string {
  return `${words[IDENTITY]}/${words[IDENTITY + 1]}`;
}
