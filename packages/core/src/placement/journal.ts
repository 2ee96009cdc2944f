import {
  type AveragePlan,
  type Block,
  type ClipPlan,
  dtypeInfo,
  MemoryExhaustedError,
  type MemoryPool,
  type SegmentGradient,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";

/** A gradient of a step that was given to an accelerator, copied. */
type SavedGradient =
  | { readonly kind: "none" }
  | { readonly kind: "dense"; readonly values: Uint8Array }
  | {
      readonly kind: "slices";
      readonly count: number;
      readonly indices: Uint8Array;
      readonly values: Uint8Array;
    };

interface SavedUpdate {
  readonly update: UpdatePlan;
  /** One for each segment. */
  readonly gradients: readonly SavedGradient[];
}

/** What a step did on an accelerator, so that it can be done again here. */
export interface JournalEntry {
  readonly step: number;
  readonly updates: readonly SavedUpdate[];
  readonly average: AveragePlan | null;
  readonly bytes: number;
  /** As the step used it; a global norm becomes its factor as soon as that is known. */
  clip: ClipPlan;
  /** What a replay found. */
  globalNorm?: number;
}

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

  /** Copies the gradients of a plan; to be added when it is launched. */
  copy({ updates, average, clip }: StepPlan, step: number): JournalEntry {
    let bytes = 0;
    const take = (memory: number, offset: number, length: number): Uint8Array => {
      bytes += length;
      return this.#bytesAt(memory, offset, length).slice();
    };
    const saved = updates.map((update): SavedUpdate => {
      const element = dtypeInfo[update.dtype].bytes;
      const gradients = update.segments.map(({ memory, count, gradient }): SavedGradient => {
        if (gradient.kind === "dense") {
          return { kind: "dense", values: take(memory, gradient.offset, count * element) };
        }
        if (gradient.kind === "none") return gradient;
        return {
          kind: "slices",
          count: gradient.count,
          indices: take(memory, gradient.indices, gradient.count * 4),
          values: take(memory, gradient.values, gradient.count * update.rowSize * element),
        };
      });
      return { update, gradients };
    });
    return { step, updates: saved, average, clip, bytes };
  }

  add(entry: JournalEntry): void {
    this.#entries.push(entry);
    this.#bytes += entry.bytes;
  }

  /** Forgets the steps for which nothing is missing any more. */
  prune(isMissing: (update: UpdatePlan, step: number) => boolean): void {
    this.#entries = this.#entries.filter(({ updates, step }) =>
      updates.some(({ update }) => isMissing(update, step)),
    );
    this.#bytes = this.#entries.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Does the steps again, first to last, those updates of them that are missing. */
  replay(
    run: (plan: StepPlan) => { readonly globalNorm?: number },
    isMissing: (update: UpdatePlan, step: number) => boolean,
  ): void {
    for (const entry of this.#entries) {
      const missing = entry.updates.filter(({ update }) => isMissing(update, entry.step));
      if (missing.length === 0) continue;
      const blocks: Block[] = [];
      try {
        const updates = missing.map((saved) => this.#restored(saved, blocks));
        const { globalNorm } = run({
          updates,
          clip: entry.clip,
          average: entry.average,
          elements: entry.bytes / 4,
        });
        if (globalNorm !== undefined) entry.globalNorm = globalNorm;
      } finally {
        for (const block of blocks) block.arena.release(block);
      }
    }
    this.#entries = [];
    this.#bytes = 0;
  }

  #restored({ update, gradients }: SavedUpdate, blocks: Block[]): UpdatePlan {
    const put = (memory: number, bytes: Uint8Array): number => {
      const block = this.#memory.arenas[memory]!.allocate(bytes.byteLength, false);
      if (block === undefined) throw new MemoryExhaustedError(bytes.byteLength);
      blocks.push(block);
      this.#bytesAt(memory, block.offset, bytes.byteLength).set(bytes);
      return block.offset;
    };
    const segments = update.segments.map((segment, s) => {
      const saved = gradients[s]!;
      let gradient: SegmentGradient = { kind: "none" };
      if (saved.kind === "dense") gradient = { kind: "dense", offset: put(segment.memory, saved.values) };
      else if (saved.kind === "slices") {
        const indices = put(segment.memory, saved.indices);
        gradient = { kind: "slices", indices, values: put(segment.memory, saved.values), count: saved.count };
      }
      return { ...segment, gradient };
    });
    return { ...update, segments };
  }

  #bytesAt(memory: number, offset: number, length: number): Uint8Array {
    return new Uint8Array(this.#memory.bufferOf(this.#memory.arenas[memory]!), offset, length);
  }
}
