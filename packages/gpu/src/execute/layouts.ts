import type { StepPlan } from "@shardgrad/workers";
import type { Binding, GpuBackend } from "../backend/contract.js";
import { ALIGNMENT } from "../backend/contract.js";
import { GpuMemoryError } from "../errors.js";
import type { DeviceArrays } from "./device-arrays.js";
import { type Layout, layOut, tablesOf } from "./layout.js";
import { LayoutKey } from "./layout-key.js";
import type { Table } from "./range-table.js";
import type { Scratch } from "./scratch.js";
import type { StepBuffers } from "./step-buffers.js";

/** Kinds of steps that take turns, as those of several optimizers do. */
const MOST = 8;

interface Known {
  readonly key: Float64Array;
  readonly layout: Layout;
  /** Where the tables lie on the device for good: as of the second step of the kind. */
  kept: ReadonlyMap<Table, Binding> | undefined;
  /** The last plan of the kind. */
  plan: PlanKind;
}

/** What says without a key that two plans have the same one: they are alike, clip in the same way, and so on. */
interface PlanKind extends Pick<StepPlan, "alike"> {
  readonly clip: StepPlan["clip"]["kind"];
  readonly averages: boolean;
}

function kindOf({ alike, clip, average }: StepPlan): PlanKind {
  return { alike, clip: clip.kind, averages: average !== null };
}

function isSameKind(known: PlanKind, { alike, clip, average }: StepPlan): boolean {
  return (
    alike !== undefined &&
    known.alike === alike &&
    known.clip === clip.kind &&
    known.averages === (average !== null)
  );
}

/** A layout, and which of its tables the device has already. */
export interface FoundLayout {
  readonly layout: Layout;
  readonly kept: ReadonlyMap<Table, Binding>;
}

const nothing: ReadonlyMap<Table, Binding> = new Map();

/**
 * The layouts of the last kinds of steps: in training, step after step is of the same few.
 *
 * Invariant: each layout that is kept is what `layOut` would make of a plan with its key now. It depends on the key's
 * numbers, on the places of arrays, which stay while `DeviceArrays.generation` does, and on places in step buffers, which
 * always stay. When the generation has changed, all are forgotten.
 */
export class Layouts {
  readonly #backend: GpuBackend;
  readonly #arrays: DeviceArrays;
  readonly #gradients: StepBuffers;
  readonly #scratch: Scratch;
  readonly #key = new LayoutKey();
  /** The last used one first. */
  #known: Known[] = [];
  #generation = 0;

  /** @param gradients - room for the gradients of each step */
  constructor(backend: GpuBackend, arrays: DeviceArrays, gradients: StepBuffers, scratch: Scratch) {
    this.#backend = backend;
    this.#arrays = arrays;
    this.#gradients = gradients;
    this.#scratch = scratch;
  }

  /** The layout of a plan. @throws GpuMemoryError */
  of(plan: StepPlan): FoundLayout {
    if (this.#generation !== this.#arrays.generation) {
      for (const known of this.#known) this.#forget(known);
      this.#known = [];
      this.#generation = this.#arrays.generation;
    }
    let at = this.#known.findIndex((known) => isSameKind(known.plan, plan));
    if (at < 0) {
      this.#key.write(plan);
      at = this.#known.findIndex(({ key }) => this.#key.is(key));
    }
    if (at >= 0) {
      const known = this.#known[at]!;
      if (at > 0) {
        this.#known.splice(at, 1);
        this.#known.unshift(known);
      }
      if (known.plan.alike !== plan.alike) known.plan = kindOf(plan);
      known.kept ??= this.#keep(tablesOf(known.layout));
      return { layout: known.layout, kept: known.kept };
    }
    const none = this.#scratch.take("none", ALIGNMENT).buffer;
    const layout = layOut(plan, this.#arrays, this.#gradients, this.#backend.limits, none);
    this.#known.unshift({ key: this.#key.numbers, layout, kept: undefined, plan: kindOf(plan) });
    if (this.#known.length > MOST) this.#forget(this.#known.pop()!);
    return { layout, kept: nothing };
  }

  /** Brings tables up to stay. Without room for them they go up at each step. */
  #keep(tables: readonly Table[]): ReadonlyMap<Table, Binding> {
    const places: number[] = [];
    let end = 0;
    for (const { words } of tables) {
      places.push(end);
      end += Math.max(Math.ceil(words.byteLength / ALIGNMENT), 1) * ALIGNMENT;
    }
    if (end === 0) return nothing;
    const all = new Uint32Array(end / 4);
    tables.forEach(({ words }, i) => {
      all.set(words, places[i]! / 4);
    });
    try {
      const buffer = this.#backend.allocate(end);
      this.#backend.upload(buffer, 0, all);
      return new Map(
        tables.map((table, i) => [
          table,
          { buffer, offset: places[i]!, bytes: (places[i + 1] ?? end) - places[i]! },
        ]),
      );
    } catch (error) {
      if (!(error instanceof GpuMemoryError)) throw error;
      return nothing;
    }
  }

  #forget({ kept }: Known): void {
    const [first] = kept?.values() ?? [];
    if (first !== undefined) this.#backend.free(first.buffer);
  }
}
