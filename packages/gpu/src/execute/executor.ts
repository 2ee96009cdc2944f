import {
  type Accelerator,
  dtypeInfo,
  type HostMemory,
  type SharedArray,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";
import type { DeviceLost, GpuBackend } from "../backend/contract.js";
import { whole } from "./clip-slots.js";
import { arraysOf, DeviceArrays } from "./device-arrays.js";
import { GATHER_BYTES, gatherParts } from "./gather.js";
import { copyGradients, largeGradients } from "./gradients.js";
import { largestSortArray } from "./group-commands.js";
import { Layouts } from "./layouts.js";
import { type Lowered, lower } from "./lower.js";
import { cut, pieceBytes } from "./pieces.js";
import { Scratch } from "./scratch.js";
import { StepBuffers } from "./step-buffers.js";
import { copyOrTake, hasTensors } from "./tensor-gradients.js";
import { tensorOver } from "./tensors.js";

/** Runs step plans on a back end: keeps arrays on the device, brings gradients up, launches kernels. */
export class GpuExecutor implements Accelerator {
  readonly kind: GpuBackend["kind"];
  readonly description: string;
  readonly isSoftware: boolean;
  readonly lost: Promise<DeviceLost>;
  readonly #backend: GpuBackend;
  readonly #host: HostMemory;
  readonly #arrays: DeviceArrays;
  readonly #gradients: StepBuffers;
  readonly #buffers: StepBuffers;
  readonly #scratch: Scratch;
  readonly #layouts: Layouts;
  #norm: Lowered["norm"];

  constructor(backend: GpuBackend, host: HostMemory) {
    this.kind = backend.kind;
    this.description = backend.description;
    this.isSoftware = backend.isSoftware;
    this.lost = backend.lost;
    this.#backend = backend;
    this.#host = host;
    this.#arrays = new DeviceArrays(backend, host);
    this.#gradients = new StepBuffers(backend);
    this.#buffers = new StepBuffers(backend);
    this.#scratch = new Scratch(backend);
    this.#layouts = new Layouts(backend, this.#arrays, this.#gradients, this.#scratch);
  }

  refusal(update: UpdatePlan): string | undefined {
    const { operation, dtype, rowSize, rowwise, segments } = update;
    if (operation !== "adagrad" && operation !== "catchUp") return "its optimizer updates it in JavaScript";
    if (!this.#backend.dtypes.includes(dtype)) return `${this.kind} has no ${dtype}`;
    if (rowSize === 0) return "it has no elements";
    const most = pieceBytes(this.#backend.limits);
    const { bytes } = dtypeInfo[dtype];
    const hasSlices = segments.some(({ gradient }) => gradient.kind === "slices");
    if ((hasSlices || rowwise) && rowSize * bytes > most)
      return "a row is larger than a buffer of the device";
    for (const { count, gradient } of segments) {
      if (gradient.kind !== "slices") continue;
      const pieces = cut(count, rowSize, dtype, this.#backend.limits).length;
      if (Math.max(gradient.count * rowSize * bytes, largestSortArray(gradient.count, pieces)) > most)
        return "its slices are larger than a buffer of the device";
    }
    return undefined;
  }

  get generation(): number {
    return this.#arrays.generation;
  }

  holds(updates: readonly UpdatePlan[]): boolean {
    for (const { segments } of updates) {
      for (const { memory, variable, accumulator, average } of segments) {
        if (!this.#hasRoom(memory, variable)) return false;
        if (!this.#hasRoom(memory, accumulator)) return false;
        if (!this.#hasRoom(memory, average)) return false;
      }
    }
    return true;
  }

  bytesOf({ dtype, segments, rowwise, rowSize }: UpdatePlan): number {
    const { bytes } = dtypeInfo[dtype];
    return segments.reduce((sum, { count, average }) => {
      const accumulators = rowwise ? count / Math.max(rowSize, 1) : count;
      return sum + bytes * (count + accumulators + (average === 0 ? 0 : count));
    }, 0);
  }

  async prepare(updates: readonly UpdatePlan[]): Promise<void> {
    const made: { memory: number; offset: number }[] = [];
    try {
      for (const update of updates) {
        for (const segment of update.segments) {
          for (const array of arraysOf(update, segment)) {
            const { memory } = segment;
            if (this.#arrays.get(memory, array.offset) !== undefined) continue;
            this.#arrays.ensure(update, segment, array);
            made.push({ memory, offset: array.offset });
          }
        }
      }
      // Some back ends learn only now that there was no room.
      if (made.length > 0) await this.#backend.finished();
    } catch (error) {
      for (const { memory, offset } of made) this.#arrays.drop(memory, offset);
      throw error;
    }
  }

  async stage(plan: StepPlan): Promise<void> {
    if (!this.#arrays.areCurrent) await this.#bringUpInParts(plan);
    if (this.#backend.readyInPlace === undefined) return;
    for (const bytes of largeGradients(plan, this.#host)) await this.#backend.readyInPlace(bytes);
  }

  takesTensors(plan: StepPlan): boolean {
    return hasTensors(plan, this.#backend);
  }

  launch(plan: StepPlan, lasting = false): void {
    const found = this.#layouts.of(plan);
    const { gradients } = found.layout;
    const given =
      plan.arriving === undefined
        ? undefined
        : copyOrTake(plan, gradients, this.#host, this.#gradients, this.#backend, lasting);
    if (given === undefined) copyGradients(plan, gradients, this.#host, this.#gradients, lasting);
    this.#buffers.begin();
    const { commands, norm } = lower(plan, found, this.#arrays, this.#buffers, this.#scratch);
    if (!this.#arrays.areCurrent) for (const update of plan.updates) this.#bringUp(update);
    for (const { buffer, bytes } of found.layout.uploads) {
      if (given === undefined || given.filled.has(buffer)) this.#backend.upload(buffer, 0, bytes);
    }
    // After the uploads, which may go over the same places.
    if (given !== undefined && given.taken.length > 0) this.#backend.copyTensors!(given.taken);
    this.#sendTables();
    this.#norm = norm;
    this.#backend.launch(commands);
  }

  async settled(): Promise<{ readonly globalNorm?: number }> {
    const norm = this.#norm;
    this.#norm = undefined;
    if (norm === undefined) {
      await this.#backend.finished();
      return {};
    }
    const slot = norm.dtype === "float64" ? new Float64Array(4) : new Float32Array(4);
    await this.#backend.download(norm.slots.buffer, norm.slots.offset, slot);
    return { globalNorm: slot[2]! };
  }

  changed(memory: number, offset: number): void {
    this.#arrays.changed(memory, offset);
  }

  async download(memory: number, offset: number, target: Uint8Array): Promise<void> {
    const array = this.#arrays.get(memory, offset);
    if (array === undefined) throw new RangeError("No array of the device has this place.");
    await this.#arrays.download(array, target);
  }

  async gather(
    memory: number,
    offset: number,
    rowSize: number,
    rows: Uint32Array,
    target: Uint8Array,
  ): Promise<void> {
    const array = this.#arrays.get(memory, offset);
    if (array === undefined) throw new RangeError("No array of the device has this place.");
    this.#arrays.bringUp(array);
    const rowBytes = rowSize * dtypeInfo[array.dtype].bytes;
    const parts = [...gatherParts(array, rowSize, rows, Math.max(1, Math.floor(GATHER_BYTES / rowBytes)))];
    // Enqueued in one turn: the buffers are the next step's as well.
    const coming = parts.map(async ({ place, rows: chunk, positions }) => {
      const bytes = chunk.length * rowBytes;
      this.#buffers.begin();
      const numbers = this.#buffers.bind(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      const gathered = this.#scratch.take("gathered", bytes);
      this.#sendTables();
      const scalars = [rowSize, place.offset / dtypeInfo[array.dtype].bytes];
      const buffers = [whole(place.buffer), numbers, gathered];
      this.#backend.launch([{ kernel: "gather", dtype: array.dtype, buffers, scalars, count: chunk.length }]);
      if (positions === undefined) {
        await this.#backend.download(gathered.buffer, 0, target.subarray(0, bytes));
        return;
      }
      const values = new Uint8Array(bytes);
      await this.#backend.download(gathered.buffer, 0, values);
      positions.forEach((position, i) => {
        target.set(values.subarray(i * rowBytes, (i + 1) * rowBytes), position * rowBytes);
      });
    });
    await Promise.all(coming);
  }

  tensor(array: SharedArray, shape: readonly number[]): Promise<object | string> {
    return tensorOver(this.#backend, this.#arrays, array, shape);
  }

  drop(memory: number, offset: number): void {
    this.#arrays.drop(memory, offset);
  }

  memoryUse(): { readonly held: number; readonly free?: number } {
    return this.#backend.memory();
  }

  close(): Promise<void> {
    return this.#backend.close();
  }

  /** Whether the array is here; true of the offset that stands for none. */
  #hasRoom(memory: number, offset: number): boolean {
    return offset === 0 || this.#arrays.get(memory, offset) !== undefined;
  }

  /** What the step collected for the kernels to read, gradients apart. */
  #sendTables(): void {
    for (const { buffer, bytes } of this.#buffers.uploads()) this.#backend.upload(buffer, 0, bytes);
  }

  async #bringUpInParts({ updates }: StepPlan): Promise<void> {
    for (const update of updates) {
      for (const segment of update.segments) {
        for (const { offset } of arraysOf(update, segment)) {
          const array = this.#arrays.get(segment.memory, offset);
          if (array !== undefined && !array.current) await this.#arrays.bringUpInParts(array);
        }
      }
    }
  }

  #bringUp(update: UpdatePlan): void {
    for (const segment of update.segments) {
      for (const { offset } of arraysOf(update, segment)) {
        const array = this.#arrays.get(segment.memory, offset)!;
        this.#arrays.bringUp(array);
      }
    }
  }
}
