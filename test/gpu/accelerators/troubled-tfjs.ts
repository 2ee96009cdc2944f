import { Runtime, type RuntimeOptions } from "@shardgrad/core";
import { DeviceLostError, openTfjs } from "@shardgrad/gpu";
import type { Accelerator, HostMemory, StepPlan, UpdatePlan } from "@shardgrad/workers";
import { tfWith } from "../../support/tfjs.js";
import type { Moment, Troubled } from "./contract.js";

/** Steps with tfjs that fail when a test says so. */
class TroubledAccelerator implements Accelerator, Troubled {
  readonly kind = "tfjs";
  readonly launched = [];
  readonly lost: Promise<{ reason: string }>;
  /** Set when the runtime opens it. */
  inner!: Accelerator;
  #tell: (loss: { reason: string }) => void = () => {};
  #reason: string | undefined;
  before: (what: Moment) => void = () => {};

  constructor() {
    this.lost = new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  get description() {
    return this.inner.description;
  }

  get isSoftware() {
    return this.inner.isSoftware;
  }

  lose(reason: string, silent = false): void {
    this.#reason = reason;
    if (!silent) this.#tell({ reason });
  }

  refusal = (update: UpdatePlan) => this.inner.refusal(update);
  takesTensors = (plan: StepPlan) => this.inner.takesTensors!(plan);
  holds = (updates: readonly UpdatePlan[]) => this.inner.holds(updates);
  bytesOf = (update: UpdatePlan) => this.inner.bytesOf(update);
  prepare = (updates: readonly UpdatePlan[]) => this.inner.prepare(updates);
  changed = (memory: number, offset: number) => this.inner.changed(memory, offset);
  drop = (memory: number, offset: number) => this.inner.drop(memory, offset);
  memoryUse = () => this.inner.memoryUse();
  close = () => this.inner.close();

  launch(plan: StepPlan): void {
    this.#at("launch");
    this.inner.launch(plan);
  }

  async settled() {
    const settled = this.inner.settled();
    this.before("finished");
    const outcome = await settled;
    this.#check();
    return outcome;
  }

  async download(...place: Parameters<Accelerator["download"]>): Promise<void> {
    this.#at("download");
    await this.inner.download(...place);
    this.#check();
  }

  async gather(...rows: Parameters<Accelerator["gather"]>): Promise<void> {
    this.#at("download");
    await this.inner.gather(...rows);
    this.#check();
  }

  #at(what: Moment): void {
    this.before(what);
    this.#check();
  }

  #check(): void {
    if (this.#reason !== undefined) throw new DeviceLostError(this.#reason);
  }
}

/** A runtime on tfjs' cpu back end, and what a test can trouble. */
export async function troubledTfjs(options: RuntimeOptions = {}) {
  const tf = await tfWith("cpu");
  const device = new TroubledAccelerator();
  const open = async ({ host }: { host: HostMemory }) => {
    const inner = await openTfjs({ tf, host, software: true });
    if (typeof inner === "string") throw new Error(inner);
    device.inner = inner;
    return device;
  };
  const runtime = new Runtime({
    device: "tfjs",
    threads: 0,
    ...options,
    [Symbol.for("shardgrad.openAccelerator")]: open,
  } as RuntimeOptions);
  // Or a loss would be a warning of the process.
  return { device, runtime: runtime.on("deviceChanged", () => {}) };
}
