import {
  type Accelerator,
  type ClipPlan,
  type CpuDevice,
  globalScale,
  LaneLostError,
  type MemoryPool,
  type Residency,
  type StepOutcome,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";
import { StaleValuesError } from "../errors/index.js";
import { Journal, type JournalEntry } from "./journal.js";
import { firstLine, openAccelerator } from "./open.js";
import { LEAST_ELEMENTS, PlacementPolicy, type VariablePlacement } from "./policy.js";
import { bytesAt } from "./replay-room.js";
import { isHome, type Resident, Residents } from "./residents.js";

/** What executes the plans of steps. */
export interface StepDevice {
  run(plan: StepPlan): Promise<StepOutcome>;
  /** Blocks the calling thread. */
  runSync(plan: StepPlan): StepOutcome;
  /** Waits on the calling thread until no lane writes; false when a lane does not end. */
  settle(): boolean;
}

/** Where an array lies. */
interface ArrayPlace {
  readonly home: { readonly arena: { readonly id: number } };
  readonly block: { readonly offset: number };
}

export interface PlacedDeviceOptions {
  /** What to look for, in this order. */
  readonly kinds: readonly Accelerator["kind"][];
  /** The device was asked for by name: everything goes there that can, and its absence is told. */
  readonly named: boolean;
  /** Takes a device that is software. */
  readonly software: boolean;
  /** The tfjs of the application. */
  readonly tf?: object | undefined;
  /** Most bytes of gradients in the journal; by default JOURNAL_BYTES, or what lives on the device if that is more. */
  readonly journalBytes?: number | undefined;
  /** How it is opened; by the GPU package if not given. */
  readonly open?: typeof openAccelerator | undefined;
}

export interface PlacedDeviceEvents {
  lost(device: string, reason: string): void;
  changed(from: string, to: string, reason: string): void;
}

const JOURNAL_BYTES = 512 << 20;

/**
 * Runs steps on an accelerator and on the CPU, each variable where it lives. Arrays stay on the accelerator between
 * steps; the host's copies of them are as old as the journal is long, and with it they give everything that a lost
 * device had. Nobody sees an old copy: who asks for one gets an error (`hostAccess`).
 *
 * Only one asynchronous step runs at a time. Synchronous steps may come in between its turns: launching, noting it in
 * the journal and the residents are one turn, and so is replaying.
 */
export class PlacedDevice implements StepDevice, Residency {
  readonly #cpu: CpuDevice;
  readonly #memory: MemoryPool;
  readonly #options: PlacedDeviceOptions;
  readonly #events: PlacedDeviceEvents;
  readonly #residents = new Residents();
  readonly #journal: Journal;
  readonly #policy: PlacementPolicy;
  #accelerator: Accelerator | undefined;
  #opening: Promise<void> | undefined;
  #reasons: readonly string[] = [];
  #step = 0;

  constructor(cpu: CpuDevice, memory: MemoryPool, options: PlacedDeviceOptions, events: PlacedDeviceEvents) {
    this.#cpu = cpu;
    this.#memory = memory;
    this.#options = options;
    this.#events = events;
    this.#journal = new Journal(memory);
    this.#policy = new PlacementPolicy(options.named);
  }

  get accelerator(): Accelerator | undefined {
    return this.#accelerator;
  }

  /** Why there is no accelerator: one line for each that was tried. */
  get reasons(): readonly string[] {
    return this.#reasons;
  }

  get placements(): VariablePlacement[] {
    return this.#policy.all;
  }

  /** Opens the device that was asked for by name. */
  async ready(): Promise<void> {
    if (this.#options.named) await this.#open();
  }

  run(plan: StepPlan): Promise<StepOutcome> {
    const mayOpen = this.#opening === undefined && this.#wantsDevice(plan);
    if (this.#accelerator === undefined && !mayOpen) return this.#cpu.run(plan);
    return this.#run(plan);
  }

  runSync(plan: StepPlan): StepOutcome {
    const accelerator = this.#accelerator;
    if (accelerator === undefined) return this.#cpu.runSync(plan);
    // A synchronous step cannot bring anything home or wait for room: each variable is computed where it is.
    const onDevice = plan.updates.filter(
      (update) =>
        plan.accelerated &&
        update.place !== "cpu" &&
        accelerator.refusal(update) === undefined &&
        accelerator.holds([update]),
    );
    const here = plan.updates.filter((update) => !onDevice.includes(update));
    const residents = this.#residents.together(here.flatMap((update) => this.#residents.ofUpdate(update)));
    if (!residents.every(isHome)) throw new StaleValuesError();
    for (const { memory, offset } of residents) accelerator.changed(memory, offset);
    if (onDevice.length === 0) return this.#cpu.runSync(plan);
    const norm = plan.clip.kind === "globalNorm" ? this.#cpu.runSync(normPlan(plan)).globalNorm : undefined;
    let entry: JournalEntry;
    try {
      entry = this.#launch(accelerator, partOf(plan, onDevice, norm));
    } catch (error) {
      this.#lose(error);
      return this.#cpu.runSync(plan);
    }
    void accelerator.settled().catch((error) => this.#lose(error));
    // While the device works. The gradients are the step's only until it returns.
    for (const _ of this.#journal.keep(entry));
    if (here.length > 0) this.#cpu.runSync(partOf(plan, here, norm));
    if (this.#journalIsFull()) this.#replay();
    return outcomeOf(here.length > 0 ? "hybrid" : accelerator.kind, norm);
  }

  settle(): boolean {
    return this.#cpu.settle();
  }

  hostAccess(memory: number, offset: number): void {
    this.hostRead(memory, offset);
    this.#accelerator?.changed(memory, offset);
  }

  hostRead(memory: number, offset: number): void {
    const resident = this.#residents.get(memory, offset);
    if (resident === undefined) return;
    resident.asked = true;
    if (!isHome(resident)) throw new StaleValuesError();
  }

  /** Whether some of the arrays live on the accelerator. */
  has(arrays: readonly ArrayPlace[]): boolean {
    return this.#residentsOf(arrays).length > 0;
  }

  /** Brings arrays home, with what steps change together with them, and off the accelerator. */
  async leave(arrays: readonly ArrayPlace[]): Promise<void> {
    await this.#moveHome(this.#residentsOf(arrays));
  }

  /** The same at once. @throws StaleValuesError when they are not home */
  leaveNow(arrays: readonly ArrayPlace[]): void {
    const residents = this.#residents.together(this.#residentsOf(arrays));
    if (!residents.every(isHome)) throw new StaleValuesError();
    for (const { memory, offset } of residents) this.released(memory, offset);
  }

  /**
   * Copies rows of a variable whose current values are on the accelerator; false when they are not, or not any more.
   * @param segments - the variable's
   * @param rows - row numbers within the variable
   */
  async gather(
    segments: readonly (ArrayPlace & { readonly start: number; readonly count: number })[],
    rowSize: number,
    rows: Uint32Array,
    target: Uint8Array,
  ): Promise<boolean> {
    const accelerator = this.#accelerator;
    const residents = this.#residentsOf(segments);
    if (accelerator === undefined || residents.length < segments.length || residents.every(isHome))
      return false;
    const rowBytes = rows.length === 0 ? 0 : target.byteLength / rows.length;
    const coming = segments.map(async ({ home, block, start, count }) => {
      const first = start / rowSize;
      const end = (start + count) / rowSize;
      const positions = Uint32Array.from(rows.keys()).filter((i) => rows[i]! >= first && rows[i]! < end);
      const whole = positions.length === rows.length;
      const values = whole ? target : new Uint8Array(positions.length * rowBytes);
      const numbers = positions.map((i) => rows[i]! - first);
      await accelerator.gather(home.arena.id, block.offset, rowSize, numbers, values);
      if (whole) return;
      positions.forEach((position, i) => {
        target.set(values.subarray(i * rowBytes, (i + 1) * rowBytes), position * rowBytes);
      });
    });
    try {
      await Promise.all(coming);
      return true;
    } catch (error) {
      this.#lose(error);
      return false;
    }
  }

  read(memory: number, offset: number, target: Uint8Array): Promise<void> | undefined {
    const resident = this.#residents.get(memory, offset);
    if (resident === undefined || isHome(resident)) return undefined;
    resident.asked = true;
    return this.#accelerator!.download(memory, offset, target).catch((error) => {
      this.#lose(error);
      target.set(this.#bytes(memory, offset, target.byteLength));
    });
  }

  released(memory: number, offset: number): void {
    const resident = this.#residents.get(memory, offset);
    if (resident !== undefined) this.#residents.remove(resident);
    this.#accelerator?.drop(memory, offset);
  }

  /** Makes the host's copies of everything current. */
  async synchronize(): Promise<void> {
    await this.#bringHome(this.#residents.all());
  }

  /** Brings everything home and lets the accelerator go. */
  async close(): Promise<void> {
    await this.#opening;
    await this.synchronize();
    const accelerator = this.#accelerator;
    this.#letGo();
    await accelerator?.close();
  }

  #wantsDevice({ accelerated, elements, updates }: StepPlan): boolean {
    if (!accelerated) return false;
    return this.#options.named || elements >= LEAST_ELEMENTS || updates.some(({ place }) => place === "gpu");
  }

  #open(): Promise<void> {
    this.#opening ??= this.#openOnce();
    return this.#opening;
  }

  async #openOnce(): Promise<void> {
    const { kinds, software, named, tf, open = openAccelerator } = this.#options;
    const host = {
      bytes: (memory: number, offset: number, length: number) => this.#bytes(memory, offset, length),
    };
    const opened = await open({ kinds, software, host, tf });
    if (!("launch" in opened)) {
      this.#reasons = opened;
      if (named) this.#events.changed(kinds[0]!, "cpu", opened.join("; "));
      return;
    }
    this.#accelerator = opened;
    this.#memory.residency = this;
    void opened.lost.then(({ reason }) => {
      if (this.#accelerator === opened) this.#lose(new Error(reason));
    });
    this.#events.changed("cpu", opened.kind, opened.description);
  }

  async #run(plan: StepPlan): Promise<StepOutcome> {
    if (plan.accelerated) await this.#open();
    const accelerator = this.#accelerator;
    if (accelerator === undefined) return this.#cpu.run(plan);
    const onDevice = plan.accelerated ? await this.#prepared(plan, accelerator) : [];
    const here = plan.updates.filter((update) => !onDevice.includes(update));
    await this.#moveHere(here);
    let norm: number | undefined;
    if (onDevice.length > 0 && here.length > 0 && plan.clip.kind === "globalNorm") {
      norm = (await this.#cpu.run(normPlan(plan))).globalNorm;
    }
    if (onDevice.length === 0 || this.#accelerator !== accelerator) return this.#cpu.run(plan);
    return this.#runBoth(plan, accelerator, onDevice, here, norm);
  }

  /** The updates that have their room on the accelerator now. */
  async #prepared(plan: StepPlan, accelerator: Accelerator): Promise<UpdatePlan[]> {
    for (const update of plan.updates) {
      const residents = this.#residents.ofUpdate(update);
      if (residents.length === 0) continue;
      this.#policy.asked(
        update,
        residents.some(({ asked }) => asked),
      );
      for (const resident of residents) resident.asked = false;
    }
    for (;;) {
      const updates = plan.updates.filter((update) => this.#policy.isForDevice(update, plan, accelerator));
      try {
        if (!accelerator.holds(updates)) await accelerator.prepare(updates);
        return this.#accelerator === accelerator ? updates : [];
      } catch (error) {
        // The largest that is not there yet is the first to do without.
        const missing = updates.filter((update) => !accelerator.holds([update]));
        const [largest] = missing.sort((a, b) => accelerator.bytesOf(b) - accelerator.bytesOf(a));
        if (largest === undefined || !isOutOfMemory(error)) {
          this.#lose(error);
          return [];
        }
        this.#policy.refuse(largest, "the device has no room for it");
      }
    }
  }

  async #runBoth(
    plan: StepPlan,
    accelerator: Accelerator,
    onDevice: readonly UpdatePlan[],
    here: readonly UpdatePlan[],
    known: number | undefined,
  ): Promise<StepOutcome> {
    let entry: JournalEntry;
    try {
      entry = this.#launch(accelerator, partOf(plan, onDevice, known));
    } catch (error) {
      // Without room for a gradient the device is as good as before, but of no use for this step.
      if (isOutOfMemory(error)) await this.#moveHere(onDevice);
      else this.#lose(error);
      return this.#cpu.run(plan);
    }
    const settled = accelerator.settled();
    const hereDone = here.length === 0 ? undefined : this.#cpu.run(partOf(plan, here, known));
    // Looked at below, after the device's.
    hereDone?.catch(() => {});
    settled.catch(() => {});
    // While both work. A full journal is emptied before the step ends.
    if (!this.#journalIsFull()) for (const _ of this.#journal.keep(entry)) await eventLoopTurn();
    let norm = known;
    try {
      const { globalNorm } = await settled;
      norm ??= globalNorm;
      entry.clip = knownClip(entry.clip, norm, onDevice[0]!);
    } catch (error) {
      this.#lose(error);
      norm ??= entry.globalNorm;
    }
    try {
      await hereDone;
      if (this.#journalIsFull()) await this.synchronize();
    } catch (error) {
      throw error instanceof LaneLostError ? damageOfBoth(error, plan, onDevice, here) : error;
    } finally {
      this.#journal.finish(entry);
    }
    return outcomeOf(here.length > 0 ? "hybrid" : accelerator.kind, norm);
  }

  /** Enqueues a step and notes it, in one turn. Throws before anything has changed, or not at all. */
  #launch(accelerator: Accelerator, part: StepPlan): JournalEntry {
    accelerator.launch(part);
    this.#step++;
    const entry = this.#journal.add(part, this.#step);
    for (const update of part.updates) this.#residents.stepped(update, this.#step);
    return entry;
  }

  /** Variables that are about to be computed here leave the accelerator. */
  async #moveHere(updates: readonly UpdatePlan[]): Promise<void> {
    await this.#moveHome(updates.flatMap((update) => this.#residents.ofUpdate(update)));
  }

  async #moveHome(residents: readonly Resident[]): Promise<void> {
    const together = this.#residents.together(residents);
    await this.#bringHome(together);
    for (const { memory, offset } of together) this.released(memory, offset);
  }

  #residentsOf(arrays: readonly ArrayPlace[]): Resident[] {
    return arrays.flatMap(({ home, block }) => this.#residents.get(home.arena.id, block.offset) ?? []);
  }

  /** Makes the host's copies of arrays, and of what steps change together with them, current. */
  async #bringHome(residents: readonly Resident[]): Promise<void> {
    const accelerator = this.#accelerator;
    const groups = new Set(residents.filter((resident) => !isHome(resident)).map(({ group }) => group));
    if (accelerator === undefined || groups.size === 0) return;
    try {
      for (const group of groups) await this.#download(accelerator, [...group]);
    } catch (error) {
      this.#lose(error);
      return;
    }
    this.#journal.prune((update, step) => this.#isMissing(update, step));
  }

  /** A group is written all at once, when all of it has come: a device lost on the way leaves the old copies whole. */
  async #download(accelerator: Accelerator, group: readonly Resident[]): Promise<void> {
    const version = this.#step;
    const coming = group.map(async ({ memory, offset, bytes }) => {
      const target = new Uint8Array(bytes);
      await accelerator.download(memory, offset, target);
      return target;
    });
    const values = await Promise.all(coming);
    if (this.#accelerator !== accelerator) return;
    group.forEach((resident, i) => {
      const { memory, offset, bytes, mirrored } = resident;
      if (this.#residents.get(memory, offset) !== resident || mirrored >= version || isHome(resident)) return;
      this.#bytes(memory, offset, bytes).set(values[i]!);
      resident.mirrored = version;
    });
  }

  #journalIsFull(): boolean {
    const { journalBytes } = this.#options;
    if (this.#journal.bytes <= (journalBytes ?? JOURNAL_BYTES)) return false;
    if (journalBytes !== undefined) return true;
    const held = this.#residents.all().reduce((sum, { bytes }) => sum + bytes, 0);
    return this.#journal.bytes > held;
  }

  #isMissing({ segments }: UpdatePlan, step: number): boolean {
    const [first] = segments;
    const resident = first === undefined ? undefined : this.#residents.get(first.memory, first.variable);
    return resident !== undefined && resident.mirrored < step;
  }

  /** Makes the host's copies current by doing here what the accelerator has done. */
  #replay(): void {
    this.#journal.replay(
      (plan) => this.#cpu.runSync(plan),
      (update, step) => this.#isMissing(update, step),
    );
    for (const resident of this.#residents.all()) resident.mirrored = this.#step;
  }

  /** The device is gone, or cannot be trusted: the host takes over with everything that was done. */
  #lose(error: unknown): void {
    const accelerator = this.#accelerator;
    if (accelerator === undefined) return;
    const reason = (error as { reason?: string } | null)?.reason ?? firstLine(error);
    try {
      this.#replay();
    } finally {
      this.#letGo();
      this.#reasons = [`${accelerator.kind}: ${reason}`];
      this.#policy.lost("the device was lost");
      void accelerator.close().catch(() => {});
      this.#events.lost(accelerator.description, reason);
      this.#events.changed(accelerator.kind, "cpu", reason);
    }
  }

  #letGo(): void {
    this.#accelerator = undefined;
    this.#memory.residency = undefined;
    this.#residents.clear();
  }

  #bytes(memory: number, offset: number, length: number): Uint8Array {
    return bytesAt(this.#memory, memory, offset, length);
  }
}

function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function isOutOfMemory(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "ERR_SHARDGRAD_GPU_MEMORY";
}

/** The same step, only to take its norm: in the order and arithmetic of the CPU alone. */
function normPlan(plan: StepPlan): StepPlan {
  const updates = plan.updates.map((update) => ({ ...update, operation: "norm" as const }));
  return { ...plan, updates, average: null };
}

/** A part of a step; with the global norm over all of it, if that is known. */
function partOf(plan: StepPlan, updates: readonly UpdatePlan[], norm: number | undefined): StepPlan {
  return { ...plan, updates, clip: knownClip(plan.clip, norm, updates[0]!) };
}

function knownClip(clip: ClipPlan, norm: number | undefined, { dtype }: UpdatePlan): ClipPlan {
  if (clip.kind !== "globalNorm" || norm === undefined) return clip;
  return { kind: "scale", factor: globalScale(norm, clip.limit, dtype) };
}

function outcomeOf(device: StepOutcome["device"], globalNorm: number | undefined): StepOutcome {
  return globalNorm === undefined ? { device } : { device, globalNorm };
}

/** The damage of the part that ran here, in terms of the whole step; the device's part was applied. */
function damageOfBoth(
  error: LaneLostError,
  { updates }: StepPlan,
  onDevice: readonly UpdatePlan[],
  here: readonly UpdatePlan[],
): LaneLostError {
  const damage = error.damage.map((part) => ({ ...part, update: updates.indexOf(here[part.update]!) }));
  const applied = onDevice.map((update) => ({ update: updates.indexOf(update), state: "applied" as const }));
  return new LaneLostError(error.lane, [...damage, ...applied]);
}
