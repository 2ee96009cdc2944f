import {
  type AveragePlan,
  type ClipPlan,
  dtypeInfo,
  MemoryExhaustedError,
  type MemoryPool,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";
import { bytesAt, ReplayRoom } from "./replay-room.js";

/** A gradient of a step that was given to an accelerator, copied. */
export type SavedGradient =
  | { readonly kind: "none" }
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
  /** With the gradients where the step has them: good as long as the step holds them. */
  readonly updates: readonly UpdatePlan[];
  readonly average: AveragePlan | null;
  /** Bytes of the gradients. */
  readonly bytes: number;
  /** The gradients, one for each segment of each update; undefined until they are copied. */
  saved: readonly (readonly SavedGradient[])[] | undefined;
  /** As the step used it; a global norm becomes its factor as soon as that is known. */
  clip: ClipPlan;
  /** What a replay found. */
  globalNorm?: number;
}

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
  #entries: JournalEntry[] = [];
  #bytes = 0;

  constructor(memory: MemoryPool) {
    this.#memory = memory;
  }

  /** Bytes of the gradients that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Notes a step at its launch. Its gradients are still to be kept. */
  add({ updates, average, clip }: StepPlan, step: number): JournalEntry {
    const bytes = updates.reduce((sum, update) => sum + gradientBytes(update), 0);
    const entry: JournalEntry = { step, updates, average, bytes, clip, saved: undefined };
    this.#entries.push(entry);
    this.#bytes += bytes;
    return entry;
  }

  /** Copies the gradients of a step that is about to let go of them, a part each time the next value is asked for. */
  *keep(entry: JournalEntry): Generator<void, void, unknown> {
    const saved: SavedGradient[][] = [];
    for (const { segments, dtype, rowSize } of entry.updates) {
      const element = dtypeInfo[dtype].bytes;
      const gradients: SavedGradient[] = [];
      for (const { memory, count, gradient } of segments) {
        if (gradient.kind === "none") gradients.push(gradient);
        else if (gradient.kind === "dense") {
          gradients.push({
            kind: "dense",
            values: yield* this.#copy(memory, gradient.offset, count * element),
          });
        } else {
          const { indices, values, count: slices } = gradient;
          gradients.push({
            kind: "slices",
            count: slices,
            indices: yield* this.#copy(memory, indices, slices * 4),
            values: yield* this.#copy(memory, values, slices * rowSize * element),
          });
        }
      }
      saved.push(gradients);
    }
    entry.saved = saved;
  }

  /** Keeps what is not yet kept of a step that ends, unless the step is not needed any more. */
  finish(entry: JournalEntry): void {
    if (entry.saved === undefined && this.#entries.includes(entry)) for (const _ of this.keep(entry));
  }

  /** Forgets the steps for which nothing is missing any more. */
  prune(isMissing: (update: UpdatePlan, step: number) => boolean): void {
    this.#entries = this.#entries.filter(({ updates, step }) =>
      updates.some((update) => isMissing(update, step)),
    );
    this.#bytes = this.#entries.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Does the steps again, first to last, those updates of them that are missing. */
  replay(run: Run, isMissing: (update: UpdatePlan, step: number) => boolean): void {
    for (const entry of this.#entries) {
      const missing = entry.updates.map((update) => isMissing(update, entry.step));
      if (!missing.includes(true)) continue;
      try {
        this.#redo(entry, missing, run, false);
      } catch (error) {
        // Thrown before anything was written: a step that waits may hold what room there is.
        if (!(error instanceof MemoryExhaustedError)) throw error;
        this.#redo(entry, missing, run, true);
      }
    }
    this.#entries = [];
    this.#bytes = 0;
  }

  #redo(entry: JournalEntry, missing: readonly boolean[], run: Run, elsewhere: boolean): void {
    const { clip, average, bytes, saved } = entry;
    const room = new ReplayRoom(this.#memory, elsewhere);
    try {
      const updates = entry.updates.flatMap((update, i): UpdatePlan[] => {
        if (!missing[i]) return [];
        if (saved === undefined) return [update];
        const segments = update.segments.map((segment, s) => room.restore(update, segment, saved[i]![s]!));
        return [{ ...update, segments }];
      });
      const { globalNorm } = run({ updates, clip, average, elements: bytes / 4 });
      if (globalNorm !== undefined) entry.globalNorm = globalNorm;
      room.bringBack();
    } finally {
      room.release();
    }
  }

  *#copy(memory: number, offset: number, length: number): Generator<void, Uint8Array, unknown> {
    const copy = new Uint8Array(length);
    const source = bytesAt(this.#memory, memory, offset, length);
    for (let at = 0; at < length; at += COPY_CHUNK) {
      copy.set(source.subarray(at, at + COPY_CHUNK), at);
      if (length > COPY_CHUNK) yield;
    }
    return copy;
  }
}

function gradientBytes({ segments, dtype, rowSize }: UpdatePlan): number {
  const element = dtypeInfo[dtype].bytes;
  return segments.reduce((sum, { count, gradient }) => {
    if (gradient.kind === "dense") return sum + count * element;
    return gradient.kind === "none" ? sum : sum + gradient.count * (4 + rowSize * element);
  }, 0);
}
