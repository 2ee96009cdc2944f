import {
  type Accelerator,
  dtypeInfo,
  type HostMemory,
  type SegmentPlan,
  type SharedArray,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";
import { arraysOf } from "../execute/device-arrays.js";
import { Arrays } from "./arrays.js";
import { clippingOf } from "./clipping.js";
import { GradientTensors } from "./gradient-tensors.js";
import { Scalars } from "./scalars.js";
import { hostTensor, type StagedSlices, stageSlices } from "./slices.js";
import type { Tf, TfTensor } from "./tf.js";
import type { MakeArray, TfArray } from "./tf-array.js";
import { averageUpdate, denseUpdate, rowsUpdate, shapeOf, type UpdateContext } from "./updates.js";

/** The gradient of a segment, in tfjs. */
type Staged = { readonly dense: TfTensor } | { readonly slices: StagedSlices } | undefined;

export interface TfjsDevice {
  readonly description: string;
  readonly isSoftware: boolean;
  readonly lost: Accelerator["lost"];
  /** Whether its `scatterND` adds in list order. */
  readonly addsInOrder: boolean;
  /** How arrays live there. */
  readonly makeArray: MakeArray;
}

/**
 * Runs step plans with the ops of the tfjs that the application uses, one segment after another. An op that throws leaves
 * some arrays changed and some not: whoever launched gives the device up then, as for one that is lost.
 */
export class TfjsAccelerator implements Accelerator {
  readonly kind = "tfjs";
  readonly description: string;
  readonly isSoftware: boolean;
  readonly lost: Accelerator["lost"];
  readonly #tf: Tf;
  readonly #host: HostMemory;
  readonly #arrays: Arrays;
  readonly #tensors: GradientTensors;
  readonly #addsInOrder: boolean;
  /** The global norm of the last launch, until `settled` takes it. */
  #norm: number | undefined;
  /** An array that the last launch has changed. */
  #last: { readonly memory: number; readonly offset: number } | undefined;

  constructor(tf: Tf, host: HostMemory, device: TfjsDevice) {
    const { description, isSoftware, lost, addsInOrder, makeArray } = device;
    this.#tf = tf;
    this.#host = host;
    this.#arrays = new Arrays(tf, host, makeArray);
    this.#tensors = new GradientTensors(tf);
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
      arraysIn(update).every(({ memory, offset }) => this.#arrays.get(memory, offset) !== undefined),
    );
  }

  bytesOf(update: UpdatePlan): number {
    const { bytes } = dtypeInfo[update.dtype];
    return arraysIn(update).reduce((sum, { shape }) => sum + shape[0] * shape[1] * bytes, 0);
  }

  /** tfjs does not tell what room there is: it is taken when the values go up, at the next launch. */
  async prepare(updates: readonly UpdatePlan[]): Promise<void> {
    for (const update of updates) {
      for (const { memory, offset, shape } of arraysIn(update)) this.#arrays.ensure(memory, offset, shape);
    }
  }

  /** Norms are taken on the host, for the bits of the CPU. */
  takesTensors(plan: StepPlan): boolean {
    const { kind } = plan.clip;
    return kind !== "norm" && kind !== "globalNorm" && this.#tensors.haveAll(plan);
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
    const resident = this.#arrays.get(memory, offset);
    if (resident !== undefined) resident.current = false;
  }

  async download(memory: number, offset: number, target: Uint8Array): Promise<void> {
    await this.#read(() => this.#current(memory, offset).values(), target);
  }

  async gather(
    memory: number,
    offset: number,
    rowSize: number,
    rows: Uint32Array,
    target: Uint8Array,
  ): Promise<void> {
    const tf = this.#tf;
    if (rows.length === 0) return;
    await this.#read(() => {
      const array = this.#current(memory, offset);
      if (array.shape[1] !== rowSize) throw new RangeError("The array has rows of another size.");
      return array.rows(tf.tensor(Int32Array.from(rows), [rows.length], "int32"));
    }, target);
  }

  /** With the values as they are now: later steps make new tensors, or leave this one its values. */
  async tensor(array: SharedArray, shape: readonly number[]): Promise<object | string> {
    const { memory, offset, dtype, count, rowSize } = array;
    if (dtype !== "float32") return `tfjs has no ${dtype}`;
    if (count === 0) return "it has no elements";
    this.#arrays.ensure(memory, offset, shapeOf({ rowSize }, count, false));
    return this.#tf.tidy(() => {
      return this.#tf.reshape(this.#arrays.current(memory, offset).values(), [...shape]);
    });
  }

  drop(memory: number, offset: number): void {
    this.#arrays.drop(memory, offset);
  }

  memoryUse(): { readonly held: number } {
    return { held: this.#arrays.bytes };
  }

  async close(): Promise<void> {
    this.#arrays.clear();
  }

  #step(plan: StepPlan, scalars: Scalars): void {
    const tf = this.#tf;
    const { updates, clip } = plan;
    const { clipOf, globalNorm } = clippingOf(tf, clip, updates, this.#host, scalars);
    for (const update of updates) {
      const context = { tf, scalars, update, clip: clipOf(update) };
      for (const segment of update.segments) {
        if (segment.count === 0 || segment.gradient.kind === "none") continue;
        tf.tidy(() => {
          this.#updateSegment(context, segment, plan);
        });
      }
    }
    this.#norm = globalNorm;
  }

  #stage(context: UpdateContext, segment: SegmentPlan, plan: StepPlan): Staged {
    const { memory, count, gradient } = segment;
    if (gradient.kind === "dense") {
      const { offset } = gradient;
      const given = this.#tensors.at(plan, memory, offset);
      return { dense: given ?? hostTensor(this.#tf, this.#host, memory, offset, [count]) };
    }
    if (gradient.kind === "none" || gradient.count === 0) return undefined;
    const given = this.#tensors.at(plan, memory, gradient.values);
    return {
      slices: stageSlices(this.#tf, this.#host, context, segment, gradient, given, this.#addsInOrder),
    };
  }

  #updateSegment(context: UpdateContext, segment: SegmentPlan, plan: StepPlan): void {
    const { tf, scalars } = context;
    const { average } = plan;
    const { memory } = segment;
    const gradient = this.#stage(context, segment, plan);
    const variable = this.#arrays.current(memory, segment.variable);
    // A table of which no row is named still has its average taken.
    if (gradient !== undefined) {
      const arrays = { variable, accumulator: this.#arrays.current(memory, segment.accumulator) };
      if ("dense" in gradient) denseUpdate(context, arrays, gradient.dense);
      else rowsUpdate(context, arrays, gradient.slices);
    }
    if (average !== null) {
      averageUpdate(tf, scalars, variable, this.#arrays.current(memory, segment.average), average);
    }
    this.#last = { memory, offset: segment.variable };
  }

  /** @throws RangeError */
  #current(memory: number, offset: number): TfArray {
    if (this.#arrays.get(memory, offset) === undefined) {
      throw new RangeError("No array of the device has this place.");
    }
    return this.#arrays.current(memory, offset);
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

  /** A row of what the last launch has changed: ops are done in order, so when it is there, everything is. */
  #probe(): TfTensor | undefined {
    const tf = this.#tf;
    const { array } = (this.#last && this.#arrays.get(this.#last.memory, this.#last.offset)) ?? {};
    if (array === undefined) return undefined;
    return tf.tidy(() => tf.keep(array.rows(tf.tensor(Int32Array.of(0), [1], "int32"))));
  }
}

function arraysIn(update: UpdatePlan) {
  return update.segments.flatMap((segment) =>
    arraysOf(update, segment).map(({ offset, perRow }) => ({
      memory: segment.memory,
      offset,
      shape: shapeOf(update, segment.count, perRow),
    })),
  );
}
