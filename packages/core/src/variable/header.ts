import { threadId } from "node:worker_threads";
import { placeOf, type SegmentPlace, SegmentTables, TABLE_BYTES } from "./segment-tables.js";
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
 * - Both words say so only once they are watched: readers begin with `watch`, which makes a word odd when a write has begun.
 *   Until then nobody else has seen the header, and a step over many variables does without their atomic operations.
 * - ALIVE becomes 0 before the memory can be used for anything else.
 * - A segment's memory never moves. EPOCH changes after everything else that `publish` says.
 *
 * Order: a writer makes the word odd, then loads it, which no later store passes; it makes the word even by an atomic
 * addition, which no earlier store passes. The lanes' stores lie between the two, as ringing them and hearing that
 * they are done is sequentially consistent. Readers: see row-reader.ts.
 */
const ALIVE = 0;
export const WHOLE = 1;
export const SLOTS = 2;
const ROWS = 3;
const SEGMENTS = 4;
const OWNER = 5;
const IDENTITY = 6;
/** Segments with a lazy block. */
const LAZIES = 8;
/** Changes with rows and segments. */
const EPOCH = 9;
const FIRST_SEGMENT = 16;

/** Whether values are written by a device, by JavaScript within one call, or by JavaScript with pauses. */
export type WriteKind = "device" | "script" | "paused";

/** The header as every thread reads it. */
export class SharedHeader {
  readonly #words: Int32Array;
  /** The header of the model variable, whose words guard the slots beside it too. */
  readonly guard: Int32Array;
  readonly isSlot: boolean;
  protected readonly tables: SegmentTables;

  /** @param tables - further ones, see {@link SegmentTables} */
  constructor(
    buffer: SharedArrayBuffer,
    guard: SharedArrayBuffer,
    isSlot: boolean,
    tables: readonly SharedArrayBuffer[] = [],
  ) {
    this.#words = new Int32Array(buffer);
    this.tables = new SegmentTables(buffer, 4 * FIRST_SEGMENT, tables);
    this.guard = isSlot ? new Int32Array(guard) : this.#words;
    this.isSlot = isSlot;
  }

  get buffer(): SharedArrayBuffer {
    return this.#words.buffer as SharedArrayBuffer;
  }

  protected get words(): Int32Array {
    return this.#words;
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

  /** Another number after each change of rows and segments. */
  get epoch(): number {
    return Atomics.load(this.#words, EPOCH);
  }

  /** Whether the variable still has that segment. */
  has(segment: number, place: SegmentPlace): boolean {
    return segment < Atomics.load(this.#words, SEGMENTS) && this.tables.isAt(segment, place);
  }

  /** Rows of a segment now; 0 when the variable does not have it any more. */
  rowsOf(segment: number, place: SegmentPlace): number {
    return this.has(segment, place) ? this.tables.rows(segment) : 0;
  }

  /** Whether some segment has a lazy block. */
  get lazy(): boolean {
    return Atomics.load(this.#words, LAZIES) !== 0;
  }

  /** Byte offset of a segment's lazy block; 0 where its averages are kept at every step. */
  lazyOf(segment: number): number {
    return this.tables.lazy(segment);
  }

  /** The owner's header, where this thread is the owner and handed the variable out. */
  get owner(): VariableHeader | undefined {
    if (Atomics.load(this.#words, OWNER) !== threadId) return undefined;
    return owners.get(identityOf(this.#words))?.deref();
  }
}

class OpenWrites {
  count = 0;
  paused = 0;
  /** Whether somebody may read the word: only then it is kept. */
  watched = false;
}

/** What the owner does with its header. */
export class VariableHeader extends SharedHeader {
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
    const buffer = new SharedArrayBuffer(4 * FIRST_SEGMENT + TABLE_BYTES);
    super(buffer, model?.buffer ?? buffer, model !== undefined);
    this.makeRoom(segments);
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

  /** For a `publish` that is to come. @throws MemoryExhaustedError */
  makeRoom(segments: number): void {
    this.tables.makeRoom(segments);
  }

  /** What another thread needs beside `buffer`. */
  get furtherTables(): SharedArrayBuffer[] {
    return this.tables.further;
  }

  /**
   * Tells the readers of rows and segments. After the memory of new rows has its values; for rows that go, before their
   * memory is given back and within `beginWrite` and `endWrite`.
   * Cannot fail, if `makeRoom` was called for so many segments.
   * @param rowSize - elements of a row
   */
  publish(rows: number, rowSize: number, segments: readonly StorageSegment[]): void {
    segments.forEach((segment, i) => {
      const segmentRows = rowSize === 0 ? rows : Math.floor(segment.count / rowSize);
      this.tables.publish(i, placeOf(segment), segmentRows);
    });
    Atomics.store(this.words, SEGMENTS, segments.length);
    Atomics.store(this.words, ROWS, rows);
    Atomics.add(this.words, EPOCH, 1);
  }

  /**
   * Tells readers that a segment's average is kept lazily, by the block at a byte offset of the segment's memory (0: no
   * longer). Called for the variable and for its average, each time between `beginWrite` and `endWrite` of both; so are
   * all changes of the block but those of a sparse step.
   */
  setLazy(segment: number, offset: number): void {
    const before = this.tables.setLazy(segment, offset);
    Atomics.add(this.words, LAZIES, Number(offset !== 0) - Number(before !== 0));
  }

  /**
   * Rows may be written from now on without their version words. Nests; `endWrite` with the same arguments ends it.
   * @param slots - whether it is about the slots beside a model variable
   */
  beginWrite(kind: WriteKind, slots = this.isSlot): void {
    const open = this.#openWrites[slots ? 1 : 0];
    if (kind === "paused") open.paused++;
    if (open.count++ === 0 && open.watched) this.#begin(slots);
  }

  #begin(slots: boolean): void {
    const word = slots ? SLOTS : WHOLE;
    Atomics.add(this.guard, word, 1);
    Atomics.load(this.guard, word);
  }

  endWrite(kind: WriteKind, slots = this.isSlot): void {
    const open = this.#openWrites[slots ? 1 : 0];
    if (kind === "paused") open.paused--;
    if (--open.count === 0 && open.watched) Atomics.add(this.guard, slots ? SLOTS : WHOLE, 1);
  }

  /** To be called before anybody reads WHOLE and SLOTS: they say what is being written from now on. */
  watch(): void {
    for (const slots of [false, true]) {
      const open = this.#openWrites[slots ? 1 : 0];
      if (open.watched) continue;
      open.watched = true;
      if (open.count > 0) this.#begin(slots);
    }
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

const owners = new Map<string, WeakRef<VariableHeader>>();
const forgotten = new FinalizationRegistry<string>((identity) => owners.delete(identity));

function identityOf(words: Int32Array): string {
  return `${words[IDENTITY]}/${words[IDENTITY + 1]}`;
}
