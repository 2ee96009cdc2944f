import { dtypeInfo, type UpdatePlan } from "@shardgrad/workers";

/** An array of the host that also lives on an accelerator. Steps are numbered from 1. */
export interface Resident {
  readonly memory: number;
  readonly offset: number;
  readonly bytes: number;
  /** The arrays that steps change together with it, itself included. */
  group: Set<Resident>;
  /** The last step that changed it on the accelerator. */
  version: number;
  /** The last step whose values the host's copy has: at least `version` when the copy is current. */
  mirrored: number;
  /** Whether the host has asked for it since the last step. Only Residents changes it. */
  asked: boolean;
  /** Gives its memory back: it was released, and others of its group cannot do without it yet. */
  free?: () => void;
}

export function isHome({ version, mirrored }: Resident): boolean {
  return mirrored >= version;
}

/** Which arrays live on the accelerator, and how far the host's copies of them are behind. */
export class Residents {
  readonly #residents = new Map<number, Resident>();
  /** How many were asked for. */
  #asked = 0;
  /**
   * The arrays of the last list of updates. They stay theirs, and together, until one is removed: steps join groups, and
   * never take them apart.
   */
  #last: { readonly updates: readonly UpdatePlan[]; readonly residents: readonly Resident[] } | undefined;

  get(memory: number, offset: number): Resident | undefined {
    return this.#residents.get(keyOf(memory, offset));
  }

  all(): Resident[] {
    return [...this.#residents.values()];
  }

  /** Notes an array that is on the accelerator though no step has changed it there; whether it was not known. */
  add({ memory, offset, bytes }: Pick<Resident, "memory" | "offset" | "bytes">): boolean {
    if (this.get(memory, offset) !== undefined) return false;
    const group = new Set<Resident>();
    const resident = { memory, offset, bytes, group, version: 0, mirrored: 0, asked: false };
    group.add(resident);
    this.#residents.set(keyOf(memory, offset), resident);
    return true;
  }

  /** The arrays of an update that are on the accelerator. */
  ofUpdate(update: UpdatePlan): Resident[] {
    return arraysOf(update).flatMap(({ memory, offset }) => this.get(memory, offset) ?? []);
  }

  /**
   * Notes that a step has changed the arrays of updates on the accelerator; which new ones are there as of it.
   * @param updates - the same list, if the same arrays as in the last step
   */
  stepped(updates: readonly UpdatePlan[], step: number): void {
    if (this.#last?.updates !== updates) {
      for (const update of updates) if (!this.#areTogether(update)) this.#join(update, step);
      this.#last = { updates, residents: updates.flatMap((update) => this.ofUpdate(update)) };
    }
    for (const resident of this.#last.residents) resident.version = step;
  }

  /** Whether the host has asked for any array since its last step. */
  get wereAsked(): boolean {
    return this.#asked > 0;
  }

  /** Notes that the host asks for an array. */
  ask(resident: Resident): void {
    if (!resident.asked) this.#asked++;
    resident.asked = true;
  }

  /** Whether the host has asked for an array of the update since the last call. */
  takeAsked(update: UpdatePlan): boolean | undefined {
    let isResident = false;
    let asked = false;
    for (const { memory, variable, accumulator, average } of update.segments) {
      for (const offset of [variable, accumulator, average]) {
        const resident = offset === 0 ? undefined : this.get(memory, offset);
        if (resident === undefined) continue;
        isResident = true;
        asked ||= resident.asked;
        if (resident.asked) this.#asked--;
        resident.asked = false;
      }
    }
    return isResident ? asked : undefined;
  }

  /** Whether all arrays of an update are there and known to belong together. */
  #areTogether({ segments }: UpdatePlan): boolean {
    let group: Set<Resident> | undefined;
    for (const { memory, variable, accumulator, average } of segments) {
      for (const offset of [variable, accumulator, average]) {
        if (offset === 0) continue;
        const resident = this.get(memory, offset);
        if (resident === undefined) return false;
        group ??= resident.group;
        if (group !== resident.group) return false;
      }
    }
    return true;
  }

  #join(update: UpdatePlan, step: number): void {
    const group = new Set<Resident>();
    for (const { memory, offset, bytes } of arraysOf(update)) {
      let resident = this.get(memory, offset);
      if (resident === undefined) {
        resident = { memory, offset, bytes, group, version: step, mirrored: step - 1, asked: false };
        this.#residents.set(keyOf(memory, offset), resident);
      }
      for (const other of resident.group) group.add(other);
      group.add(resident);
    }
    for (const resident of group) resident.group = group;
  }

  /** The residents and everything that steps change together with them. */
  together(residents: readonly Resident[]): Resident[] {
    return [...new Set(residents.flatMap(({ group }) => [...group]))];
  }

  /** Whether a replay would need the host's copy for arrays that there still are. */
  isNeeded(resident: Resident): boolean {
    return (
      !isHome(resident) && [...resident.group].some((other) => other !== resident && other.free === undefined)
    );
  }

  remove(resident: Resident): void {
    if (!this.#residents.delete(keyOf(resident.memory, resident.offset))) return;
    resident.group.delete(resident);
    if (resident.asked) this.#asked--;
    this.#last = undefined;
  }

  clear(): void {
    this.#residents.clear();
    this.#asked = 0;
    this.#last = undefined;
  }
}

/** Where the arrays of an update are, and how large. */
function arraysOf({ segments, dtype, rowwise, rowSize }: UpdatePlan) {
  const element = dtypeInfo[dtype].bytes;
  return segments.flatMap(({ memory, count, variable, accumulator, average }) => {
    const bytes = count * element;
    return [
      { memory, offset: variable, bytes },
      { memory, offset: accumulator, bytes: rowwise ? bytes / rowSize : bytes },
      { memory, offset: average, bytes },
    ].filter(({ offset }) => offset !== 0);
  });
}

/** Offsets are below 2^32. */
function keyOf(memory: number, offset: number): number {
  return memory * 2 ** 32 + offset;
}
