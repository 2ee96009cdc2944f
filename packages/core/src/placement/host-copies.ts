import type { Accelerator, MemoryPool, StepPlan, UpdatePlan } from "@shardgrad/workers";
import { Journal, type JournalEntry } from "./journal.js";
import { type Landing, Landings } from "./landings.js";
import { noteAveraged, withBehind } from "./lazy-tables.js";
import { bytesAt } from "./replay-room.js";
import { isHome, type Resident, Residents } from "./residents.js";

/** Where an array lies. */
export interface ArrayPlace {
  readonly home: { readonly arena: { readonly id: number } };
  readonly block: { readonly offset: number };
}

/** Bytes of gradients that are kept by default, or what lives on the device if that is more. */
const JOURNAL_BYTES = 512 << 20;

/** Bytes copied between two looks at the event loop: some tenths of a millisecond. */
const LANDING_BYTES = 2 << 20;

/**
 * The host's copies of the arrays that live on an accelerator, and the journal of what they lack: together always
 * everything that was done. `launched` and `replay` are one turn of the event loop each.
 */
export class HostCopies {
  readonly residents = new Residents();
  readonly journal: Journal;
  readonly #landings = new Landings();
  readonly #memory: MemoryPool;
  readonly #journalBytes: number | undefined;
  /** Number of the last step on the accelerator. */
  #step = 0;

  constructor(memory: MemoryPool, journalBytes: number | undefined) {
    this.journal = new Journal(memory);
    this.#memory = memory;
    this.#journalBytes = journalBytes;
  }

  /** A step as an accelerator is to be given it, in the turn of its launch. */
  toLaunch(part: StepPlan): StepPlan {
    return withBehind(part, this.#memory);
  }

  /** Notes a step in the turn of its launch. @param part - what `toLaunch` gave */
  launched(part: StepPlan): JournalEntry {
    noteAveraged(part, this.#memory);
    this.#step++;
    const entry = this.journal.add(part, this.#step);
    this.residents.stepped(entry.updates, this.#step);
    return entry;
  }

  get isJournalFull(): boolean {
    if (this.journal.bytes <= (this.#journalBytes ?? JOURNAL_BYTES)) return false;
    if (this.#journalBytes !== undefined) return true;
    const held = this.residents.all().reduce((sum, { bytes }) => sum + bytes, 0);
    return this.journal.bytes > held;
  }

  at(arrays: readonly ArrayPlace[]): Resident[] {
    return arrays.flatMap(({ home, block }) => this.residents.get(home.arena.id, block.offset) ?? []);
  }

  ofUpdates(updates: readonly UpdatePlan[]): Resident[] {
    return updates.flatMap((update) => this.residents.ofUpdate(update));
  }

  /**
   * Resolves when the steps that were launched count: when the journal has their gradients, or could have. Before, nobody
   * must see what they did, or they could not be undone. Rejects when gradients do not come.
   */
  async counted(): Promise<void> {
    if (this.journal.isWaiting) await this.journal.arrivals();
  }

  /**
   * Makes the copies of arrays, and of what steps change together with them, current.
   * @param isValid - whether what comes may be written: not when the accelerator is gone
   * @throws (rejects) what the accelerator rejects with; copies that have not come are as they were
   */
  async refresh(
    accelerator: Accelerator,
    residents: readonly Resident[],
    isValid: () => boolean,
  ): Promise<void> {
    const groups = new Set(residents.filter((resident) => !isHome(resident)).map(({ group }) => group));
    for (const group of groups) await this.#download(accelerator, [...group], isValid);
    if (groups.size > 0) this.journal.prune((update, step) => this.#isMissing(update, step));
  }

  /** A group is written when all of it has come: a device lost on the way leaves the old copies whole. */
  async #download(
    accelerator: Accelerator,
    group: readonly Resident[],
    isValid: () => boolean,
  ): Promise<void> {
    const version = this.#step;
    const coming = group.map(async ({ memory, offset, bytes }) => {
      const target = new Uint8Array(bytes);
      await accelerator.download(memory, offset, target);
      return target;
    });
    const values = await Promise.all(coming);
    await this.counted();
    await this.#landings.land(this.#land(group, values, version, isValid));
  }

  /** Copies the values of a step. They are current at the end, not before. */
  *#land(
    group: readonly Resident[],
    values: readonly Uint8Array[],
    version: number,
    isValid: () => boolean,
  ): Landing {
    if (!isValid()) return;
    const isWanted = (resident: Resident) =>
      this.residents.get(resident.memory, resident.offset) === resident &&
      resident.mirrored < version &&
      !isHome(resident);
    let copied = 0;
    for (const [i, resident] of group.entries()) {
      for (let at = 0; at < resident.bytes && isWanted(resident); at += LANDING_BYTES) {
        const part = values[i]!.subarray(at, at + LANDING_BYTES);
        this.bytes(resident.memory, resident.offset + at, part.length).set(part);
        copied += part.length;
        if (copied < LANDING_BYTES) continue;
        copied = 0;
        yield;
      }
    }
    for (const resident of group) if (isWanted(resident)) resident.mirrored = version;
  }

  /**
   * Makes all copies current by doing here what the accelerator has done. When it throws, steps that were done again
   * are known to be.
   */
  replay(run: (plan: StepPlan) => { readonly globalNorm?: number }): void {
    this.#landings.finish();
    const isMissing = (update: UpdatePlan, step: number) => this.#isMissing(update, step);
    this.journal.replay(run, isMissing, ({ updates, step }) => {
      for (const resident of this.ofUpdates(updates)) resident.mirrored = Math.max(resident.mirrored, step);
    });
    for (const resident of this.residents.all()) resident.mirrored = this.#step;
  }

  bytes(memory: number, offset: number, length: number): Uint8Array {
    return bytesAt(this.#memory, memory, offset, length);
  }

  #isMissing({ segments }: UpdatePlan, step: number): boolean {
    const [first] = segments;
    const resident = first === undefined ? undefined : this.residents.get(first.memory, first.variable);
    return resident !== undefined && resident.mirrored < step;
  }
}
