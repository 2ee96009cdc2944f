import type { Accelerator, StepPlan, UpdatePlan } from "@shardgrad/workers";

/** Where one variable lives, and why. */
export interface VariablePlacement {
  readonly name: string;
  /** Elements. */
  readonly size: number;
  readonly device: "cpu" | "gpu";
  readonly reason: string;
}

/**
 * Steps over fewer elements stay on the CPU unless the device was asked for by name: bringing a gradient up and waiting
 * for the device takes longer than computing it here.
 */
export const LEAST_ELEMENTS = 1 << 20;

/** Steps in a row after each of which the host asked for a variable's values, and it lives on the CPU from then on. */
const ASKED_TOO_OFTEN = 3;

/** Why a step leaves a table that is split over memories here: its slices were left in one of them. */
export function hostOnly({ segments }: UpdatePlan): string | undefined {
  const elsewhere = segments.some(
    ({ gradient }) => gradient.kind === "slices" && gradient.all?.indices !== undefined,
  );
  return elsewhere ? "its slices are not in its memories" : undefined;
}

/** Decides which variables live on the accelerator; keeps what it decided and why. */
export class PlacementPolicy {
  readonly #placed = new Map<number, VariablePlacement>();
  /** Variables that stay on the CPU, and why. */
  readonly #refused = new Map<number, string>();
  readonly #askedInARow = new Map<number, number>();
  readonly #named: boolean;
  #revision = 0;

  /** @param named - the device was asked for by name: everything that can go there does */
  constructor(named: boolean) {
    this.#named = named;
  }

  get all(): VariablePlacement[] {
    return [...this.#placed.values()];
  }

  /** Whether an update is to run on the accelerator. */
  isForDevice(update: UpdatePlan, plan: StepPlan, accelerator: Accelerator): boolean {
    const { device, reason } = this.#decide(update, plan, accelerator);
    this.#note(update, device, reason);
    return device === "gpu";
  }

  /** Changes when a variable is decided on otherwise than by where it lives and what its update says. */
  get revision(): number {
    return this.#revision;
  }

  /** Keeps a variable on the CPU from now on. */
  refuse(update: UpdatePlan, reason: string): void {
    this.#revision++;
    this.#refused.set(update.pin, reason);
  }

  /** Whether the host has asked for a variable's values after its last step. */
  get countsAsked(): boolean {
    return this.#askedInARow.size > 0;
  }

  /** Counts steps in a row after which the host asked for the values. */
  asked(update: UpdatePlan, wasAsked: boolean): void {
    const inARow = wasAsked ? (this.#askedInARow.get(update.pin) ?? 0) + 1 : 0;
    if (inARow === 0) this.#askedInARow.delete(update.pin);
    else this.#askedInARow.set(update.pin, inARow);
    if (inARow >= ASKED_TOO_OFTEN && !this.#named && update.place !== "gpu") {
      this.refuse(update, "the host reads it after every step");
    }
  }

  /** Everything is on the CPU now. */
  lost(reason: string): void {
    for (const [pin, placed] of this.#placed) this.#placed.set(pin, { ...placed, device: "cpu", reason });
  }

  #decide(
    update: UpdatePlan,
    plan: StepPlan,
    accelerator: Accelerator,
  ): Pick<VariablePlacement, "device" | "reason"> {
    const cpu = (reason: string) => ({ device: "cpu", reason }) as const;
    const gpu = (reason: string) => ({ device: "gpu", reason }) as const;
    const refusal = this.#refused.get(update.pin) ?? hostOnly(update) ?? accelerator.refusal(update);
    if (refusal !== undefined) return cpu(refusal);
    if (update.place === "cpu") return cpu("its `device` option");
    if (update.place === "gpu") return gpu("its `device` option");
    if (this.#named) return gpu("the runtime's `device` option");
    if (accelerator.holds([update])) return gpu("it is there");
    if (plan.elements < LEAST_ELEMENTS) return cpu(`the step has fewer than ${LEAST_ELEMENTS} elements`);
    const { free } = accelerator.memoryUse();
    if (free !== undefined && accelerator.bytesOf(update) > free) return cpu("it does not fit");
    return gpu("a large step");
  }

  #note({ pin, name = "", segments }: UpdatePlan, device: "cpu" | "gpu", reason: string): void {
    const known = this.#placed.get(pin);
    if (known?.device === device && known.reason === reason) return;
    const size = segments.reduce((sum, { count }) => sum + count, 0);
    this.#placed.set(pin, { name, size, device, reason });
  }
}
