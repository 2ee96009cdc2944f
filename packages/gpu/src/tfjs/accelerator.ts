import {
  type Accelerator,
  dtypeInfo,
  type HostMemory,
  type SegmentPlan,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";
import { arraysOf } from "../execute/device-arrays.js";
import { clippingOf } from "./clipping.js";
import { Scalars } from "./scalars.js";
import { hostTensor, type StagedSlices, stageSlices } from "./slices.js";
import { type Resident, Tensors } from "./tensors.js";
import type { Tf, TfTensor } from "./tf.js";
import { averaged, denseUpdate, rowsUpdate, type UpdateContext } from "./updates.js";

/** The gradient of a segment, in tfjs. */
type Staged = { readonly dense: TfTensor } | { readonly slices: StagedSlices } | undefined;

export interface TfjsDevice {
  readonly description: string;
  readonly isSoftware: boolean;
  readonly lost: Accelerator["lost"];
  /** Whether its `scatterND` adds in list order. */
  readonly addsInOrder: boolean;
}

/**
 * Runs step plans with the ops of the tfjs that the application uses. A step makes new tensors and disposes the old ones,
 * one segment after another. An op that throws leaves some of them new and some old: whoever launched gives the device up
 * then, as for one that is lost.
 */
export class TfjsAccelerator implements Accelerator {
  readonly kind = "tfjs";
  readonly description: string;
  readonly isSoftware: boolean;
  readonly lost: Accelerator["lost"];
  readonly #tf: Tf;
  readonly #host: HostMemory;
  readonly #tensors: Tensors;
  readonly #addsInOrder: boolean;
  /** The global norm of the last launch, until `settled` takes it. */
  #norm: number | undefined;
  /** An array that the last launch has changed. */
  #last: { readonly memory: number; readonly offset: number } | undefined;

  constructor(tf: Tf, host: HostMemory, { description, isSoftware, lost, addsInOrder }: TfjsDevice) {
    this.#tf = tf;
    this.#host = host;
    this.#tensors = new Tensors(tf, host);
    this.description = description;
    this.isSoftware = isSoftware;
    this.lost = lost;
    this.#addsInOrder = addsInOrder;
  }

  refusal(update: UpdatePlan): string | undefined {
    const { operation, dtype, rowSize, rowwise, segments, keptLazily } = update;
    if (operation !== "adagrad") return "its optimizer updates it in JavaScript";
    if (dtype !== "float32") return `tfjs has no ${dtype}`;
    // With dense gradients, too: the variable does not go back and forth.
    if (keptLazily || segments.some(({ lazy }) => lazy !== 0)) return "its averages are kept lazily";
    if (rowSize === 0 || segments.every(({ count }) => count === 0)) return "it has no elements";
    const byRows = rowwise || segments.some(({ gradient }) => gradient.kind === "slices");
    if (byRows && segments.some(({ count }) => count % rowSize !== 0)) return "a row of it is split";
    return undefined;
  }

  holds(updates: readonly UpdatePlan[]): boolean {
    return updates.every((update) =>
      arraysIn(update).every(({ memory, offset }) => this.#tensors.get(memory, offset) !== undefined),
    );
  }

  bytesOf(update: UpdatePlan): number {
    const { bytes } = dtypeInfo[update.dtype];
    return arraysIn(update).reduce((sum, { count }) => sum + count * bytes, 0);
  }

  /** tfjs does not tell what room there is: it is taken when the values go up, at the next launch. */
  async prepare(updates: readonly UpdatePlan[]): Promise<void> {
    for (const update of updates) {
      for (const { memory, offset, count } of arraysIn(update)) this.#tensors.ensure(memory, offset, count);
    }
  }

  launch(plan: StepPlan): void {
    this.#norm = undefined;
    const scalars = new Scalars(this.#tf);
    try {
      this.#tf.tidy(() => this.#step(plan, scalars));
    } finally {
      scalars.dispose();
    }
  }

  async settled(): Promise<{ readonly globalNorm?: number }> {
    const globalNorm = this.#norm;
    this.#norm = undefined;
    const probe = this.#probe();
    try {
      await probe?.data();
    } finally {
      probe?.dispose();
    }
    return globalNorm === undefined ? {} : { globalNorm };
  }

  changed(memory: number, offset: number): void {
    const resident = this.#tensors.get(memory, offset);
    if (resident !== undefined) resident.current = false;
  }

  async download(memory: number, offset: number, target: Uint8Array): Promise<void> {
    this.#resident(memory, offset);
    // A step may dispose the tensor while its values are on the way.
    await this.#read(() => this.#tf.clone(this.#tensors.tensorOf(memory, offset)), target);
  }

  async gather(
    memory: number,
    offset: number,
    rowSize: number,
    rows: Uint32Array,
    target: Uint8Array,
  ): Promise<void> {
    const tf = this.#tf;
    const { count } = this.#resident(memory, offset);
    if (rows.length === 0) return;
    await this.#read(() => {
      const table = tf.reshape(this.#tensors.tensorOf(memory, offset), [count / rowSize, rowSize]);
      return tf.gather(table, tf.tensor(Int32Array.from(rows), [rows.length], "int32"));
    }, target);
  }

  drop(memory: number, offset: number): void {
    this.#tensors.drop(memory, offset);
  }

  memoryUse(): { readonly held: number } {
    return { held: this.#tensors.bytes };
  }

  async close(): Promise<void> {
    this.#tensors.clear();
  }

  #step({ updates, clip, average }: StepPlan, scalars: Scalars): void {
    const tf = this.#tf;
    const { clipOf, globalNorm } = clippingOf(tf, clip, updates, this.#host, scalars);
    for (const update of updates) {
      const context = { tf, scalars, update, clip: clipOf(update) };
      for (const segment of update.segments) {
        if (segment.count === 0 || segment.gradient.kind === "none") continue;
        tf.tidy(() => {
          this.#updateSegment(context, segment, average);
        });
      }
    }
    this.#norm = globalNorm;
  }

  #stage(context: UpdateContext, segment: SegmentPlan): Staged {
    const { memory, count, gradient } = segment;
    if (gradient.kind === "dense") {
      return { dense: hostTensor(this.#tf, this.#host, memory, gradient.offset, [count]) };
    }
    if (gradient.kind === "none" || gradient.count === 0) return undefined;
    return {
      slices: stageSlices(this.#tf, this.#host, context, segment, gradient, this.#addsInOrder),
    };
  }

  #updateSegment(context: UpdateContext, segment: SegmentPlan, average: StepPlan["average"]): void {
    const { memory } = segment;
    const gradient = this.#stage(context, segment);
    const before = {
      variable: this.#tensors.tensorOf(memory, segment.variable),
      accumulator: this.#tensors.tensorOf(memory, segment.accumulator),
      average: average === null ? undefined : this.#tensors.tensorOf(memory, segment.average),
    };
    let after = before;
    // A table of which no row is named still has its average taken.
    if (gradient !== undefined) {
      const updated =
        "dense" in gradient
          ? denseUpdate(context, before, gradient.dense)
          : rowsUpdate(context, before, gradient.slices);
      after = { ...before, ...updated };
    }
    if (average !== null) after = averaged(context.tf, context.scalars, after, average);
    this.#tensors.replace(memory, segment.variable, after.variable);
    this.#tensors.replace(memory, segment.accumulator, after.accumulator);
    if (after.average !== undefined) this.#tensors.replace(memory, segment.average, after.average);
    this.#last = { memory, offset: segment.variable };
  }

  /** @throws RangeError */
  #resident(memory: number, offset: number): Resident {
    const resident = this.#tensors.get(memory, offset);
    if (resident === undefined) throw new RangeError("No array of the device has this place.");
    return resident;
  }

  /** The values of a tensor that is made for this. */
  async #read(make: () => TfTensor, target: Uint8Array): Promise<void> {
    const tf = this.#tf;
    const tensor = tf.tidy(() => tf.keep(make()));
    try {
      const values = Float32Array.from(await tensor.data());
      target.set(new Uint8Array(values.buffer, 0, target.byteLength));
    } finally {
      tensor.dispose();
    }
  }

  /** A number of what the last launch has changed: ops are done in order, so when it is there, everything is. */
  #probe(): TfTensor | undefined {
    if (this.#last === undefined) return undefined;
    const tensor = this.#tensors.get(this.#last.memory, this.#last.offset)?.tensor;
    if (tensor === undefined) return undefined;
    return this.#tf.keep(this.#tf.slice(tensor, [0], [1]));
  }
}

function arraysIn(update: UpdatePlan) {
  return update.segments.flatMap((segment) =>
    arraysOf(update, segment).map(({ offset, perRow }) => ({
      memory: segment.memory,
      offset,
      count: perRow ? segment.count / update.rowSize : segment.count,
    })),
  );
}
