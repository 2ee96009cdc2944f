import {
  type AllSlices,
  type ArrivingGradients,
  type AveragePlan,
  type ClipPlan,
  dtypeInfo,
  MemoryExhaustedError,
  type MemoryPool,
  type SegmentPlan,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";
import { JournalUpdates } from "./journal-updates.js";
import { catchUpAgain, type LazyEntry, lazyBytes, lazyEntry } from "./lazy-replay.js";
import { isCatchUp } from "./lazy-tables.js";
import { bytesAt, ReplayRoom } from "./replay-room.js";

/** A gradient of a step that was given to an accelerator, copied. */
export type SavedGradient =
  | { readonly kind: "dense"; readonly values: Uint8Array }
  | {
      readonly kind: "slices";
      readonly count: number;
      readonly indices: Uint8Array;
      readonly values: Uint8Array;
    };

/** What a step did on an accelerator, so that it can be done again here. */
export interface JournalEntry {
  readonly step: number;
  /** Without gradients and rates. */
  readonly updates: readonly UpdatePlan[];
  readonly learningRate: number;
  readonly average: AveragePlan | null;
  /** Of each segment of each update: its slices, DENSE or NONE. */
  readonly slices: readonly number[];
  /** Of each segment that is kept lazily: how far its rows were behind. */
  readonly lazy: readonly (LazyEntry | undefined)[];
  /** Of each update: slices that are kept once more, all together, for their norm. */
  readonly all: readonly number[];
  /** Bytes of the gradients. */
  readonly bytes: number;
  /** Bytes of `lazy`. */
  readonly lazyBytes: number;
  /** The updates with the gradients where the step has them, until they are copied or the step ends. */
  inFlight: readonly UpdatePlan[] | undefined;
  /** The gradients one after another; of slices first the row numbers. */
  saved: Uint8Array | undefined;
  /** Gradients that may still be on their way to where the step holds them: an entry without its gradients. */
  arriving: ArrivingGradients | undefined;
  /** The step was undone: its device was lost before the gradients came. */
  isUndone: boolean;
  /** As the step used it; a global norm becomes its factor as soon as that is known. */
  clip: ClipPlan;
  /** What a replay found. */
  globalNorm?: number;
}

/** What an entry has of its plan's kind. */
interface Noted
  extends Pick<JournalEntry, "updates" | "slices" | "lazy" | "all" | "bytes" | "lazyBytes">,
    Pick<StepPlan, "alike"> {}

const DENSE = -1;
const NONE = -2;

/** Bytes copied between two looks at the event loop: some tenths of a millisecond. */
const COPY_CHUNK = 2 << 20;

/** Executes a plan on the CPU. */
type Run = (plan: StepPlan) => { readonly globalNorm?: number };

/**
 * The steps that an accelerator has done since the host's copies were last current. When the device is lost, the host's
 * copies and these give what was lost.
 */
export class Journal {
  readonly #memory: MemoryPool;
  readonly #updates = new JournalUpdates();
  #entries: JournalEntry[] = [];
  /** Of the last step. */
  #noted: Noted | undefined;
  #bytes = 0;

  constructor(memory: MemoryPool) {
    this.#memory = memory;
  }

  /** Bytes of the gradients that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether gradients of a step have not come yet: a replay would undo it. */
  get isWaiting(): boolean {
    return this.#entries.some(isWaiting);
  }

  /** Resolves when the gradients of all steps have come; rejects when they do not. */
  async arrivals(): Promise<void> {
    await Promise.all(this.#entries.filter(isWaiting).map(({ arriving }) => arriving!.arrived));
  }

  /** Notes a step at its launch. Its gradients are still to be kept. */
  add(plan: StepPlan, step: number): JournalEntry {
    const { updates, average, clip, arriving } = plan;
    const noted = this.#note(plan);
    const entry: JournalEntry = {
      step,
      updates: noted.updates,
      learningRate: updates[0]!.learningRate,
      average,
      slices: noted.slices,
      lazy: noted.lazy,
      all: noted.all,
      bytes: noted.bytes,
      lazyBytes: noted.lazyBytes,
      inFlight: updates,
      saved: undefined,
      arriving,
      isUndone: false,
      clip,
    };
    this.#entries.push(entry);
    this.#bytes += entry.bytes + entry.lazyBytes;
    return entry;
  }

  /** What entries of plans that are alike share. */
  #note({ updates, alike }: StepPlan): Noted {
    if (alike !== undefined && this.#noted?.alike === alike) return this.#noted;
    const lazy = updates.flatMap(({ segments }) =>
      segments.map((segment) => lazyEntry(segment, this.#memory)),
    );
    this.#noted = {
      alike,
      updates: this.#updates.of(updates),
      slices: updates.flatMap(({ segments }) => segments.map(slicesOf)),
      lazy,
      all: updates.map((update) => allOf(update)?.count ?? 0),
      bytes: gradientBytes(updates),
      lazyBytes: lazy.reduce((sum, segment) => sum + lazyBytes(segment), 0),
    };
    return this.#noted;
  }

  /** Copies the gradients of a step that is about to let go of them, a part each time the next value is asked for. */
  *keep(entry: JournalEntry): Generator<void, void, unknown> {
    const saved = new Uint8Array(entry.bytes);
    let end = 0;
    let copied = 0;
    for (const { memory, offset, length } of gradientParts(entry.inFlight!)) {
      const source = bytesAt(this.#memory, memory, offset, length);
      for (let at = 0; at < length; at += COPY_CHUNK) {
        const part = source.subarray(at, at + COPY_CHUNK);
        saved.set(part, end + at);
        copied += part.byteLength;
        if (copied < COPY_CHUNK) continue;
        copied = 0;
        yield;
      }
      end += length;
    }
    entry.saved = saved;
    entry.inFlight = undefined;
    entry.arriving = undefined;
  }

  /** Keeps what is not yet kept of a step that ends, unless the step is not needed any more. */
  finish(entry: JournalEntry): void {
    if (entry.inFlight === undefined) return;
    if (this.#entries.includes(entry)) for (const _ of this.keep(entry));
    entry.inFlight = undefined;
    entry.arriving = undefined;
  }

  /** Forgets the steps for which nothing is missing any more. */
  prune(isMissing: (update: UpdatePlan, step: number) => boolean): void {
    this.#entries = this.#entries.filter(({ updates, step }) =>
      updates.some((update) => isMissing(update, step)),
    );
    this.#bytes = this.#entries.reduce((sum, { bytes, lazyBytes: more }) => sum + bytes + more, 0);
    if (this.#entries.length === 0) this.#forget();
  }

  /**
   * Does the steps again, first to last, those updates of them that are missing. Steps whose gradients have not come are
   * left out: nothing of them has come home, so that they have not happened then.
   */
  replay(
    run: Run,
    isMissing: (update: UpdatePlan, step: number) => boolean,
    done: (entry: JournalEntry) => void,
  ): void {
    for (const entry of this.#entries) {
      const missing = entry.updates.map((update) => isMissing(update, entry.step));
      if (!missing.includes(true)) continue;
      this.#catchUp(entry, missing);
      if (isCatchUp(entry)) continue;
      if (isWaiting(entry)) {
        entry.isUndone = true;
        continue;
      }
      try {
        this.#redo(entry, missing, run, false);
      } catch (error) {
        // Thrown before anything was written: a step that waits may hold what room there is.
        if (!(error instanceof MemoryExhaustedError)) throw error;
        if (entry.inFlight !== undefined) for (const _ of this.keep(entry));
        this.#redo(entry, missing, run, true);
      }
      done(entry);
    }
    this.#entries = [];
    this.#bytes = 0;
    this.#forget();
  }

  #forget(): void {
    this.#updates.clear();
    this.#noted = undefined;
  }

  /** What rows that are kept lazily had missed before the step. */
  #catchUp({ updates, lazy }: JournalEntry, missing: readonly boolean[]): void {
    let segmentNumber = 0;
    updates.forEach((update, i) => {
      for (const segment of update.segments) {
        const kept = lazy[segmentNumber++];
        if (kept !== undefined && missing[i]) catchUpAgain(update, segment, kept, this.#memory);
      }
    });
  }

  #redo(entry: JournalEntry, missing: readonly boolean[], run: Run, elsewhere: boolean): void {
    const { clip, average, bytes, inFlight } = entry;
    const room = new ReplayRoom(this.#memory, elsewhere);
    try {
      const all = inFlight ?? restored(entry, missing, room);
      const updates = all
        .filter((_, i) => missing[i])
        .map((update) => withCurrentRows(update, average, room));
      const { globalNorm } = run({ updates, clip, average, elements: bytes / 4 });
      if (globalNorm !== undefined) entry.globalNorm = globalNorm;
      room.bringBack();
    } finally {
      room.release();
    }
  }
}

function isWaiting({ arriving }: JournalEntry): boolean {
  return arriving !== undefined && !arriving.isHere;
}

/** The updates of an entry with their gradients in memory again; those that are not missing are as they are kept. */
function restored(entry: JournalEntry, missing: readonly boolean[], room: ReplayRoom): UpdatePlan[] {
  let segmentNumber = 0;
  let at = 0;
  const take = (length: number): Uint8Array => {
    at += length;
    return entry.saved!.subarray(at - length, at);
  };
  return entry.updates.map((update, i) => {
    const element = dtypeInfo[update.dtype].bytes;
    const segments = update.segments.map((segment) => {
      const slices = entry.slices[segmentNumber++]!;
      if (slices === NONE) return segment;
      const saved: SavedGradient =
        slices === DENSE
          ? { kind: "dense", values: take(segment.count * element) }
          : {
              kind: "slices",
              count: slices,
              indices: take(slices * 4),
              values: take(slices * update.rowSize * element),
            };
      return missing[i] ? room.restore(update, segment, saved) : segment;
    });
    const count = entry.all[i]!;
    const whole = count === 0 ? undefined : take(count * update.rowSize * element);
    const restoredUpdate = { ...update, segments, learningRate: entry.learningRate };
    return whole === undefined || !missing[i]
      ? restoredUpdate
      : withAll(restoredUpdate, room.put(whole), count);
  });
}

/** The update with lazy blocks by which its rows are up to date: they are by now. */
function withCurrentRows(update: UpdatePlan, average: AveragePlan | null, room: ReplayRoom): UpdatePlan {
  const { segments } = update;
  if (average === null || segments.every(({ lazy }) => lazy === 0)) return update;
  return { ...update, segments: segments.map((segment) => room.withCurrentRows(update, segment, average)) };
}

/** All slices of a table in several memories, where they lie together. */
function allOf({ segments }: UpdatePlan): AllSlices | undefined {
  const gradient = segments[0]?.gradient;
  return gradient?.kind === "slices" ? gradient.all : undefined;
}

function withAll(
  update: UpdatePlan,
  { memory, offset }: { readonly memory: number; readonly offset: number },
  count: number,
): UpdatePlan {
  const all = { memory, values: offset, count };
  const segments = update.segments.map((segment) =>
    segment.gradient.kind === "slices" ? { ...segment, gradient: { ...segment.gradient, all } } : segment,
  );
  return { ...update, segments };
}

function slicesOf({ gradient }: SegmentPlan): number {
  if (gradient.kind === "slices") return gradient.count;
  return gradient.kind === "dense" ? DENSE : NONE;
}

interface GradientPart {
  readonly memory: number;
  readonly offset: number;
  length: number;
}

/** Where the gradients of updates lie, in the order in which they are kept; what follows each other there is one part. */
function gradientParts(updates: readonly UpdatePlan[]): GradientPart[] {
  const parts: GradientPart[] = [];
  let last: GradientPart | undefined;
  const add = (memory: number, offset: number, length: number): void => {
    if (last !== undefined && last.memory === memory && last.offset + last.length === offset) {
      last.length += length;
      return;
    }
    last = { memory, offset, length };
    parts.push(last);
  };
  for (const update of updates) {
    const { segments, dtype, rowSize } = update;
    const element = dtypeInfo[dtype].bytes;
    for (const { memory, count, gradient } of segments) {
      if (gradient.kind === "dense") add(memory, gradient.offset, count * element);
      else if (gradient.kind === "slices") {
        add(memory, gradient.indices, gradient.count * 4);
        add(memory, gradient.values, gradient.count * rowSize * element);
      }
    }
    const all = allOf(update);
    if (all !== undefined) add(all.memory, all.values, all.count * rowSize * element);
  }
  return parts;
}

/** The bytes of `gradientParts`. */
function gradientBytes(updates: readonly UpdatePlan[]): number {
  let bytes = 0;
  for (const update of updates) {
    const { segments, dtype, rowSize } = update;
    const rowBytes = rowSize * dtypeInfo[dtype].bytes;
    for (const { count, gradient } of segments) {
      if (gradient.kind === "dense") bytes += count * dtypeInfo[dtype].bytes;
      else if (gradient.kind === "slices") bytes += gradient.count * (4 + rowBytes);
    }
    bytes += (allOf(update)?.count ?? 0) * rowBytes;
  }
  return bytes;
}
