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
  /** Whether the host has asked for it since the last step. */
  asked: boolean;
}

export function isHome({ version, mirrored }: Resident): boolean {
  return mirrored >= version;
}

/** Which arrays live on the accelerator, and how far the host's copies of them are behind. */
export class Residents {
  readonly #residents = new Map<number, Resident>();

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

  /** Notes that a step has changed an update's arrays on the accelerator; which new ones are there as of it. */
  stepped(update: UpdatePlan, step: number): void {
    if (!this.#areTogether(update)) this.#join(update, step);
    for (const { memory, variable, accumulator, average } of update.segments) {
      this.get(memory, variable)!.version = step;
      this.get(memory, accumulator)!.version = step;
      if (average !== 0) this.get(memory, average)!.version = step;
    }
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
        resident.asked = false;
      }
    }
    return isResident ? asked : undefined;
  }

  /** Whether all arrays of an update are there and known to belong together. */
  #areTogether({ segments }: UpdatePlan): boolean {
    let group: Set<Resident> | undefined;
    for (const { memory, variable, accumulator, average } of segments) {
      for (const offset of average === 0 ? [variable, accumulator] : [variable, accumulator, average]) {
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

  remove(resident: Resident): void {
    this.#residents.delete(keyOf(resident.memory, resident.offset));
    resident.group.delete(resident);
  }

  clear(): void {
    this.#residents.clear();
  }
}

/** Where the arrays of an update are, and how large. */
function arraysOf({ segments, dtype, rowwise, rowSize }: UpdatePlan) {
  const element = dtypeInfo[dtype].bytes;
  return segments.flatMap(({ memory, count, variable, accumulator, average }) => {
    const bytes = count * element;
    const arrays = [
      { memory, offset: variable, bytes },
      { memory, offset: accumulator, bytes: rowwise ? bytes / rowSize : bytes },
    ];
    return average === 0 ? arrays : [...arrays, { memory, offset: average, bytes }];
  });
}

/** Offsets are below 2^32. */
function keyOf(memory: number, offset: number): number {
  return memory * 2 ** 32 + offset;
}
