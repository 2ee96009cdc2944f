import {
  type Accelerator,
  type DType,
  LaneLostError,
  type StepOutcome,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";
import { StaleValuesError } from "../errors/index.js";
import { eventLoopTurn } from "../runtime/event-loop-share.js";
import { AcceleratorHolder } from "./accelerator-holder.js";
import type { JournalEntry } from "./journal.js";
import { isCatchUp } from "./lazy-tables.js";
import { isOutOfMemory } from "./open.js";
import { damageOfBoth, knownClip, normPlan, outcomeOf, partOf } from "./parts.js";
import { hostOnly, LEAST_ELEMENTS } from "./policy.js";
import { isHome } from "./residents.js";

/** What executes the plans of steps. */
export interface StepDevice {
  run(plan: StepPlan): Promise<StepOutcome>;
  /** Blocks the calling thread. */
  runSync(plan: StepPlan): StepOutcome;
  /** Whether threads run a step that has not ended, and whether they are writing an array. */
  readonly isBusy: boolean;
  isWriting(memory: number, offset: number): boolean;
  /** Waits on the calling thread until no lane writes; false when a lane does not end. */
  settle(): boolean;
  /** Whether the row kernels of a dtype reach every memory, rather than one each. */
  reachesAll(dtype: DType): boolean;
}

/**
 * Runs steps on an accelerator and on the CPU, each variable where it lives.
 *
 * Only one asynchronous step runs at a time. Synchronous steps may come in between its turns: launching, noting it in
 * the journal and the residents are one turn, and so is replaying.
 */
export class PlacedDevice extends AcceleratorHolder implements StepDevice {
  /** The last plan all updates of which were decided on, and had their room there already. */
  #allThere:
    | {
        readonly alike: object | undefined;
        readonly accelerator: Accelerator;
        readonly generation: number | undefined;
        readonly revision: number;
      }
    | undefined;

  /** A device takes the slices of a table from the memories of its segments. */
  reachesAll(dtype: DType): boolean {
    return this.accelerator === undefined && !this.options.named && this.cpu.reachesAll(dtype);
  }

  run(plan: StepPlan): Promise<StepOutcome> {
    const mayOpen = !this.wasOpened && this.#wantsDevice(plan);
    if (this.accelerator !== undefined || mayOpen || this.hasFault) return this.#run(plan);
    return this.#runHere(plan);
  }

  runSync(plan: StepPlan): StepOutcome {
    this.refuseAfterFault();
    const accelerator = this.accelerator;
    if (accelerator === undefined) return this.cpu.runSync(plan);
    // A synchronous step cannot bring anything home or wait for room: each variable is computed where it is.
    const onDevice = isCatchUp(plan)
      ? this.#behindThere(plan, accelerator)
      : plan.accelerated && this.#isAllThere(plan, accelerator)
        ? plan.updates
        : plan.updates.filter(
            (update) =>
              plan.accelerated &&
              hostOnly(update) === undefined &&
              update.place !== "cpu" &&
              accelerator.refusal(update) === undefined &&
              accelerator.holds([update]),
          );
    const here = without(plan.updates, onDevice);
    const residents = this.copies.residents.together(this.copies.ofUpdates(here));
    if (!residents.every(isHome)) throw new StaleValuesError();
    for (const { memory, offset } of residents) accelerator.changed(memory, offset);
    if (onDevice.length === 0) return this.cpu.runSync(plan);
    const norm = plan.clip.kind === "globalNorm" ? this.cpu.runSync(normPlan(plan)).globalNorm : undefined;
    let entry: JournalEntry;
    try {
      entry = this.#launch(accelerator, partOf(plan, onDevice, norm));
    } catch (error) {
      if (isOutOfMemory(error)) this.#takeOver(accelerator, onDevice);
      else this.lose(error);
      return this.cpu.runSync(plan);
    }
    void accelerator.settled().catch((error) => this.lose(error));
    // While the device works. The gradients are the step's only until it returns.
    for (const _ of this.copies.journal.keep(entry));
    if (here.length > 0) this.cpu.runSync(partOf(plan, here, norm));
    // An asynchronous step whose gradients are on their way empties it when it ends.
    if (this.copies.isJournalFull && !this.copies.journal.isWaiting) this.replay();
    return outcomeOf(here.length > 0 ? "hybrid" : accelerator.kind, norm);
  }

  get isBusy(): boolean {
    return this.cpu.isBusy;
  }

  isWriting(memory: number, offset: number): boolean {
    return this.cpu.isWriting(memory, offset);
  }

  settle(): boolean {
    return this.cpu.settle();
  }

  #wantsDevice({ accelerated, elements, updates }: StepPlan): boolean {
    if (!accelerated) return false;
    return this.options.named || elements >= LEAST_ELEMENTS || updates.some(({ place }) => place === "gpu");
  }

  async #run(plan: StepPlan): Promise<StepOutcome> {
    this.refuseAfterFault();
    if (plan.accelerated) await this.open();
    const accelerator = this.accelerator;
    if (accelerator === undefined) return this.#runHere(plan);
    const onDevice = isCatchUp(plan)
      ? this.#behindThere(plan, accelerator)
      : plan.accelerated
        ? await this.#prepared(plan, accelerator)
        : [];
    const here = without(plan.updates, onDevice);
    await this.#moveHere(here);
    // Both parts and a norm of both need the gradients here.
    if (here.length > 0 && plan.arriving?.isHere === false) await plan.arriving.arrived;
    let norm: number | undefined;
    if (onDevice.length > 0 && here.length > 0 && plan.clip.kind === "globalNorm") {
      norm = (await this.cpu.run(normPlan(plan))).globalNorm;
    }
    if (onDevice.length > 0) await this.#stage(accelerator, { ...plan, updates: onDevice });
    if (plan.arriving?.isHere === false && !takesTensors(accelerator, plan, onDevice))
      await plan.arriving.arrived;
    if (onDevice.length === 0 || this.accelerator !== accelerator) return this.#runHere(plan);
    // A synchronous call may have taken a variable off meanwhile.
    if (!this.#isAllThere(plan, accelerator) && !accelerator.holds(onDevice)) return this.#run(plan);
    return this.#runBoth(plan, accelerator, onDevice, here, norm);
  }

  /** Of a catch-up: the tables whose current values are on the accelerator only. Others are caught up here. */
  #behindThere({ updates }: StepPlan, accelerator: Accelerator): UpdatePlan[] {
    return updates.filter(
      (update) => !this.copies.residents.ofUpdate(update).every(isHome) && accelerator.holds([update]),
    );
  }

  /** Whether a plan is alike one whose updates were all found to run on the accelerator, and nothing has changed since. */
  #isAllThere({ alike }: StepPlan, accelerator: Accelerator): boolean {
    const known = this.#allThere;
    return (
      alike !== undefined &&
      known?.alike === alike &&
      known.accelerator === accelerator &&
      known.revision === this.policy.revision &&
      known.generation !== undefined &&
      known.generation === accelerator.generation
    );
  }

  /** The updates that have their room on the accelerator now; the plan's own list if all of them have. */
  async #prepared(plan: StepPlan, accelerator: Accelerator): Promise<readonly UpdatePlan[]> {
    const { residents } = this.copies;
    if (residents.wereAsked || this.policy.countsAsked) {
      for (const update of plan.updates) {
        const asked = residents.takeAsked(update);
        if (asked !== undefined) this.policy.asked(update, asked);
      }
    }
    if (this.#isAllThere(plan, accelerator)) return plan.updates;
    for (;;) {
      const updates = plan.updates.filter((update) => this.policy.isForDevice(update, plan, accelerator));
      try {
        if (accelerator.holds(updates)) {
          if (updates.length < plan.updates.length) return updates;
          const { generation } = accelerator;
          this.#allThere = { alike: plan.alike, accelerator, generation, revision: this.policy.revision };
          return plan.updates;
        }
        await accelerator.prepare(updates);
        return this.accelerator === accelerator ? updates : [];
      } catch (error) {
        // The largest that is not there yet is the first to do without.
        const missing = updates.filter((update) => !accelerator.holds([update]));
        const [largest] = missing.sort((a, b) => accelerator.bytesOf(b) - accelerator.bytesOf(a));
        if (largest === undefined || !isOutOfMemory(error)) {
          this.lose(error);
          return [];
        }
        this.policy.refuse(largest, "the device has no room for it");
      }
    }
  }

  /** What an accelerator does before the launch. */
  async #stage(accelerator: Accelerator, plan: StepPlan): Promise<void> {
    try {
      await accelerator.stage?.(plan);
    } catch (error) {
      if (this.accelerator === accelerator) this.lose(error);
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
      // The caller gets its gradients back when the step has settled.
      entry = this.#launch(accelerator, partOf(plan, onDevice, known), true);
    } catch (error) {
      // Without room for a gradient the device is as good as before, but of no use for this step.
      if (isOutOfMemory(error)) await this.#moveHere(onDevice);
      else this.lose(error);
      return this.#runHere(plan);
    }
    const settled = accelerator.settled();
    const hereDone = here.length === 0 ? undefined : this.cpu.run(partOf(plan, here, known));
    // Looked at below, after the device's.
    hereDone?.catch(() => {});
    settled.catch(() => {});
    if (plan.arriving?.isHere === false) {
      await plan.arriving.arrived.catch((error) => {
        // Without its gradients the step is undone: the device has done it, and cannot go on.
        this.lose((error as Error).cause ?? error);
        throw error;
      });
    }
    if (entry.isUndone) return this.#runHere(plan);
    // While both work. A full journal is emptied before the step ends.
    if (!this.copies.isJournalFull) for (const _ of this.copies.journal.keep(entry)) await eventLoopTurn();
    let norm = known;
    try {
      const { globalNorm } = await settled;
      norm ??= globalNorm;
      entry.clip = knownClip(entry.clip, norm, onDevice[0]!);
    } catch (error) {
      this.lose(error);
      norm ??= entry.globalNorm;
    }
    try {
      await hereDone;
      if (this.copies.isJournalFull) await this.synchronize();
    } catch (error) {
      throw error instanceof LaneLostError ? damageOfBoth(error, plan, onDevice, here) : error;
    } finally {
      this.copies.journal.finish(entry);
    }
    return outcomeOf(here.length > 0 ? "hybrid" : accelerator.kind, norm);
  }

  /** On the CPU, which waits for gradients that are on their way. @throws (rejects) GradientReadError: nothing has changed */
  #runHere(plan: StepPlan): Promise<StepOutcome> {
    if (plan.arriving?.isHere !== false) return this.cpu.run(plan);
    return plan.arriving.arrived.then(() => this.cpu.run(plan));
  }

  /** Enqueues a step and notes it, in one turn. Throws before anything has changed, or not at all. */
  #launch(accelerator: Accelerator, part: StepPlan, lasting = false): JournalEntry {
    const launched = this.copies.toLaunch(part);
    accelerator.launch(launched, lasting);
    return this.copies.launched(launched);
  }

  /** Does here what the accelerator has done, for a step that it has no room for; variables keep their room there. */
  #takeOver(accelerator: Accelerator, updates: readonly UpdatePlan[]): void {
    if (this.copies.journal.isWaiting) throw new StaleValuesError();
    this.copies.replay((step) => this.cpu.runSync(step));
    for (const { memory, offset } of this.copies.ofUpdates(updates)) accelerator.changed(memory, offset);
  }

  /** Variables that are about to be computed here leave the accelerator. */
  async #moveHere(updates: readonly UpdatePlan[]): Promise<void> {
    await this.moveHome(this.copies.ofUpdates(updates));
  }
}

/** Whether an accelerator takes a step now whose gradients are not here yet; none of its tables is kept lazily. */
function takesTensors(accelerator: Accelerator, plan: StepPlan, onDevice: readonly UpdatePlan[]): boolean {
  if (onDevice.length < plan.updates.length || accelerator.takesTensors?.(plan) !== true) return false;
  return plan.updates.every(({ segments }) => segments.every(({ lazy }) => lazy === 0));
}

/** The updates that are not among others; those of a catch-up that have nothing to do are left out. */
function without(updates: readonly UpdatePlan[], others: readonly UpdatePlan[]): UpdatePlan[] {
  if (others.length === updates.length) return [];
  const left = new Set(updates);
  for (const other of others) left.delete(other);
  return [...left].filter(({ segments }) => segments.length > 0);
}
