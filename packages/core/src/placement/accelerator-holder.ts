import {
  type Accelerator,
  type CpuDevice,
  dtypeInfo,
  type MemoryPool,
  type Residency,
  type SharedArray,
} from "@shardgrad/workers";
import { StaleValuesError } from "../errors/index.js";
import { type GatheredSegment, gatherRows } from "./gather.js";
import { type ArrayPlace, HostCopies } from "./host-copies.js";
import { firstLine, isOutOfMemory, openAccelerator } from "./open.js";
import type { PlacedDeviceEvents, PlacedDeviceOptions } from "./options.js";
import { PlacementPolicy, type VariablePlacement } from "./policy.js";
import { isHome, type Resident } from "./residents.js";

/**
 * An accelerator and the arrays that live there. The host's copies of them are as old as the journal is long, and with it
 * they give everything that a lost device had. Nobody sees an old copy: who asks for one gets an error (`hostAccess`).
 */
export class AcceleratorHolder implements Residency {
  protected readonly copies: HostCopies;
  protected readonly policy: PlacementPolicy;
  protected readonly cpu: CpuDevice;
  protected readonly options: PlacedDeviceOptions;
  readonly #memory: MemoryPool;
  readonly #events: PlacedDeviceEvents;
  #accelerator: Accelerator | undefined;
  #opening: Promise<void> | undefined;
  /** A lost accelerator that gives back what it holds. */
  #leaving: Promise<void> | undefined;
  #reasons: readonly string[] = [];
  /** What went wrong when the host took over: the next step says it. */
  #fault: unknown;

  constructor(cpu: CpuDevice, memory: MemoryPool, options: PlacedDeviceOptions, events: PlacedDeviceEvents) {
    this.cpu = cpu;
    this.options = options;
    this.copies = new HostCopies(memory, options.journalBytes);
    this.policy = new PlacementPolicy(options.named);
    this.#memory = memory;
    this.#events = events;
  }

  get accelerator(): Accelerator | undefined {
    return this.#accelerator;
  }

  /** Why there is no accelerator: one line for each that was tried. */
  get reasons(): readonly string[] {
    return this.#reasons;
  }

  get placements(): VariablePlacement[] {
    return this.policy.all;
  }

  /** Whether it was opened, or tried. */
  protected get wasOpened(): boolean {
    return this.#opening !== undefined;
  }

  protected get hasFault(): boolean {
    return this.#fault !== undefined;
  }

  /** Opens the device that was asked for by name. */
  async ready(): Promise<void> {
    if (this.options.named) await this.open();
  }

  hostAccess(memory: number, offset: number): void {
    this.hostRead(memory, offset);
    this.#accelerator?.changed(memory, offset);
  }

  hostRead(memory: number, offset: number): void {
    const { residents } = this.copies;
    const resident = residents.get(memory, offset);
    if (resident === undefined) return;
    residents.ask(resident);
    if (!isHome(resident)) throw new StaleValuesError();
  }

  /** Whether some of the arrays live on the accelerator. */
  has(arrays: readonly ArrayPlace[]): boolean {
    return this.copies.at(arrays).length > 0;
  }

  /** Whether the current values of some of the arrays are on the accelerator only. */
  isAway(arrays: readonly ArrayPlace[]): boolean {
    return !this.copies.at(arrays).every(isHome);
  }

  /** Brings arrays home, with what steps change together with them, and off the accelerator. */
  async leave(arrays: readonly ArrayPlace[]): Promise<void> {
    await this.moveHome(this.copies.at(arrays));
  }

  /** The same at once. @throws StaleValuesError when they are not home */
  leaveNow(arrays: readonly ArrayPlace[]): void {
    const residents = this.copies.residents.together(this.copies.at(arrays));
    if (!residents.every(isHome)) throw new StaleValuesError();
    for (const { memory, offset } of residents) this.released(memory, offset);
  }

  /**
   * Copies rows of a variable whose current values are on the accelerator; false when they are not, or not any more.
   * @param segments - the variable's
   * @param rows - row numbers within the variable
   */
  async gather(
    segments: readonly GatheredSegment[],
    rowSize: number,
    rows: Uint32Array,
    target: Uint8Array,
  ): Promise<boolean> {
    const accelerator = this.#accelerator;
    const residents = this.copies.at(segments);
    if (accelerator === undefined || residents.length < segments.length || residents.every(isHome)) {
      return false;
    }
    try {
      await gatherRows(accelerator, segments, rowSize, rows, target);
      return true;
    } catch (error) {
      this.lose(error);
      return false;
    }
  }

  read(memory: number, offset: number, target: Uint8Array): Promise<void> | undefined {
    const { residents } = this.copies;
    const resident = residents.get(memory, offset);
    if (resident === undefined || isHome(resident)) return undefined;
    residents.ask(resident);
    const coming = this.#accelerator!.download(memory, offset, target).then(() => this.copies.counted());
    return coming.catch((error) => {
      this.lose(error);
      target.set(this.copies.bytes(memory, offset, target.byteLength));
    });
  }

  /**
   * A tensor of the application's tfjs with the values of an array, which lives on the accelerator from then on; or why
   * there can be none, in one line.
   * @throws (rejects) GpuMemoryError: nothing has changed
   */
  async tensor(array: SharedArray, shape: readonly number[]): Promise<object | string> {
    await this.open();
    const accelerator = this.#accelerator;
    if (accelerator === undefined) return `there is no device: ${this.#reasons.join("; ")}`;
    if (accelerator.tensor === undefined) return `tfjs does not compute on this device (${accelerator.kind})`;
    const { memory, offset, dtype, count } = array;
    // Before it is there: what the host writes meanwhile must be heard of.
    const isNew = this.copies.residents.add({ memory, offset, bytes: count * dtypeInfo[dtype].bytes });
    let tensor: object | string | undefined;
    try {
      tensor = await accelerator.tensor(array, shape);
      return tensor;
    } catch (error) {
      if (isOutOfMemory(error)) throw error;
      this.lose(error);
      return firstLine(error);
    } finally {
      if (isNew && typeof tensor !== "object") this.released(memory, offset);
    }
  }

  released(memory: number, offset: number, free?: () => void): boolean {
    const { residents } = this.copies;
    const resident = residents.get(memory, offset);
    if (resident !== undefined && free !== undefined && residents.isNeeded(resident)) {
      resident.free = free;
      return true;
    }
    const group = [...(resident?.group ?? [])];
    if (resident !== undefined) residents.remove(resident);
    this.#accelerator?.drop(memory, offset);
    // The last one of its group: the others were kept for it.
    if (group.every((other) => other === resident || other.free !== undefined)) this.freeReleased(group);
    return false;
  }

  /** Gives back the memory of arrays that were released, and kept because others needed them. */
  protected freeReleased(residents: readonly Resident[]): void {
    for (const resident of residents) {
      const { memory, offset, free } = resident;
      if (free === undefined) continue;
      this.copies.residents.remove(resident);
      this.#accelerator?.drop(memory, offset);
      free();
    }
  }

  /** Does here what the accelerator has done since the host's copies were current, which they are then. */
  protected replay(): void {
    this.copies.replay((step) => this.cpu.runSync(step));
    this.freeReleased(this.copies.residents.all());
  }

  /** Makes the host's copies of everything current. */
  async synchronize(): Promise<void> {
    await this.#bringHome(this.copies.residents.all());
  }

  /** Brings everything home and lets the accelerator go. */
  async close(): Promise<void> {
    await this.#opening;
    await this.synchronize();
    const accelerator = this.#accelerator;
    this.#letGo();
    await accelerator?.close();
    await this.#leaving;
  }

  protected open(): Promise<void> {
    this.#opening ??= this.#openOnce();
    return this.#opening;
  }

  async #openOnce(): Promise<void> {
    const { kinds, software, named, tf, open = openAccelerator } = this.options;
    const host = { bytes: this.copies.bytes.bind(this.copies) };
    const opened = await open({ kinds, software, host, tf });
    if (!("launch" in opened)) {
      this.#reasons = opened;
      if (named) this.#events.changed(kinds[0]!, "cpu", opened.join("; "));
      return;
    }
    this.#accelerator = opened;
    this.#memory.residency = this;
    void opened.lost.then(({ reason }) => {
      if (this.#accelerator === opened) this.lose(new Error(reason));
    });
    this.#events.changed("cpu", opened.kind, opened.description);
  }

  /** Brings arrays home, with what steps change together with them, and off the accelerator. */
  protected async moveHome(residents: readonly Resident[]): Promise<void> {
    const together = this.copies.residents.together(residents);
    await this.#bringHome(together);
    for (const { memory, offset } of together) this.released(memory, offset);
  }

  /** Makes the host's copies of arrays, and of what steps change together with them, current. */
  async #bringHome(residents: readonly Resident[]): Promise<void> {
    const accelerator = this.#accelerator;
    if (accelerator === undefined) return;
    try {
      await this.copies.refresh(accelerator, residents, () => this.#accelerator === accelerator);
      if (this.#accelerator === accelerator) this.freeReleased(this.copies.residents.all().filter(isHome));
    } catch (error) {
      this.lose(error);
    }
  }

  /** The device is gone, or cannot be trusted: the host takes over with everything that was done. */
  protected lose(error: unknown): void {
    const accelerator = this.#accelerator;
    if (accelerator === undefined) return;
    const reason = (error as { reason?: string } | null)?.reason ?? firstLine(error);
    try {
      this.copies.replay((step) => this.cpu.runSync(step));
    } catch (fault) {
      this.#fault = fault;
    }
    this.#letGo();
    this.#reasons = [`${accelerator.kind}: ${reason}`];
    this.policy.lost("the device was lost");
    this.#leaving = accelerator.close().catch(() => {});
    this.#events.lost(accelerator.description, reason);
    this.#events.changed(accelerator.kind, "cpu", reason);
  }

  /** @throws what kept the host from doing again what a lost device had done: some values are of an earlier step */
  protected refuseAfterFault(): void {
    if (this.#fault === undefined) return;
    const fault = this.#fault;
    this.#fault = undefined;
    throw fault;
  }

  #letGo(): void {
    this.#accelerator = undefined;
    this.#memory.residency = undefined;
    this.freeReleased(this.copies.residents.all());
    this.copies.residents.clear();
  }
}
