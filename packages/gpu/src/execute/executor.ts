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
import { stageAll, stageGradient } from "./gradients.js";
import { type Lowered, lower, type StagedUpdate } from "./lower.js";
import { pieceBytes } from "./pieces.js";
import { Scratch } from "./scratch.js";
import { StepBuffers } from "./step-buffers.js";
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
  readonly #buffers: StepBuffers;
  readonly #scratch: Scratch;
  #norm: Lowered["norm"];

  constructor(backend: GpuBackend, host: HostMemory) {
    this.kind = backend.kind;
    this.description = backend.description;
    this.isSoftware = backend.isSoftware;
    this.lost = backend.lost;
    this.#backend = backend;
    this.#host = host;
    this.#arrays = new DeviceArrays(backend, host);
    this.#buffers = new StepBuffers(backend);
    this.#scratch = new Scratch(backend);
  }

  refusal(update: UpdatePlan): string | undefined {
    const { operation, dtype, rowSize, rowwise, segments } = update;
    if (operation !== "adagrad") return "its optimizer updates it in JavaScript";
    if (!this.#backend.dtypes.includes(dtype)) return `${this.kind} has no ${dtype}`;
    if (segments.some(({ lazy }) => lazy !== 0)) return "its averages are kept lazily";
    if (rowSize === 0) return "it has no elements";
    const most = pieceBytes(this.#backend.limits);
    const { bytes } = dtypeInfo[dtype];
    const hasSlices = segments.some(({ gradient }) => gradient.kind === "slices");
    if ((hasSlices || rowwise) && rowSize * bytes > most)
      return "a row is larger than a buffer of the device";
    for (const { gradient } of segments) {
      if (gradient.kind === "slices" && gradient.count * rowSize * bytes > most)
        return "its slices are larger than a buffer of the device";
    }
    return undefined;
  }

  holds(updates: readonly UpdatePlan[]): boolean {
    return updates.every((update) =>
      update.segments.every((segment) =>
        arraysOf(update, segment).every(
          ({ offset }) => this.#arrays.get(segment.memory, offset) !== undefined,
        ),
      ),
    );
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

  launch(plan: StepPlan, lasting = false): void {
    this.#buffers.reset(lasting);
    const byNorm = plan.clip.kind === "norm" || plan.clip.kind === "globalNorm";
    const staged = plan.updates.map((update): StagedUpdate => {
      const gradients = update.segments.map((segment) =>
        stageGradient(update, segment, this.#host, this.#buffers, this.#backend.limits),
      );
      const all = byNorm ? stageAll(update, this.#host, this.#buffers) : undefined;
      return { update, gradients, all };
    });
    const { commands, norm } = lower(plan, staged, this.#arrays, this.#buffers, this.#scratch);
    for (const update of plan.updates) this.#bringUp(update);
    this.#buffers.flush();
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
    const array = this.#arrays.get(memory, offset);
    if (array !== undefined) array.current = false;
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
    if (!array.current) this.#arrays.upload(array);
    const rowBytes = rowSize * dtypeInfo[array.dtype].bytes;
    const parts = [...gatherParts(array, rowSize, rows, Math.max(1, Math.floor(GATHER_BYTES / rowBytes)))];
    // Enqueued in one turn: the buffers are the next step's as well.
    const coming = parts.map(async ({ place, rows: chunk, positions }) => {
      const bytes = chunk.length * rowBytes;
      this.#buffers.reset(false);
      const numbers = this.#buffers.bind(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      const gathered = this.#scratch.take("gathered", bytes);
      this.#buffers.flush();
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

  #bringUp(update: UpdatePlan): void {
    for (const segment of update.segments) {
      for (const { offset } of arraysOf(update, segment)) {
        const array = this.#arrays.get(segment.memory, offset)!;
        if (!array.current) this.#arrays.upload(array);
      }
    }
  }
}
