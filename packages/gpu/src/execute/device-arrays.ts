import { setImmediate } from "node:timers/promises";
import {
  type DType,
  dtypeInfo,
  type HostMemory,
  type SegmentPlan,
  type SharedArray,
  type UpdatePlan,
} from "@shardgrad/workers";
import type { GpuBackend } from "../backend/contract.js";
import { DeviceHeap, type Place } from "./device-heap.js";
import { cut } from "./pieces.js";

export type Role = "variable" | "accumulator" | "average";

/** An array of the host that has room on the device, whole or in pieces. */
export interface DeviceArray {
  readonly role: Role;
  readonly memory: number;
  readonly offset: number;
  readonly dtype: DType;
  readonly pieces: readonly { readonly place: Place; readonly start: number; readonly count: number }[];
  /** Whether the device's copy is current: else it goes up before the next launch. Only DeviceArrays changes it. */
  current: boolean;
  /** How often the host may have written it. Only DeviceArrays changes it. */
  changes: number;
}

/** The arrays of an update that has this segment. */
export interface SegmentArray {
  readonly role: Role;
  readonly offset: number;
  /** One element for each row. */
  readonly perRow: boolean;
}

export function arraysOf({ rowwise }: UpdatePlan, segment: SegmentPlan): SegmentArray[] {
  const arrays: SegmentArray[] = [
    { role: "variable", offset: segment.variable, perRow: false },
    { role: "accumulator", offset: segment.accumulator, perRow: rowwise },
    { role: "average", offset: segment.average, perRow: false },
  ];
  return arrays.filter(({ offset }) => offset !== 0);
}

/** Bytes that go up between two turns of the event loop: some tenths of a millisecond. */
const PART = 2 << 20;

/** The arrays that live on the device. A place never changes, nor is it given to another, while `generation` is the same. */
export class DeviceArrays {
  readonly #backend: GpuBackend;
  readonly #host: HostMemory;
  readonly #arrays = new Map<number, DeviceArray>();
  readonly #heaps: Readonly<Record<Role, DeviceHeap>>;
  #generation = 0;
  /** Arrays that are not current. */
  #behind = 0;

  constructor(backend: GpuBackend, host: HostMemory) {
    this.#backend = backend;
    this.#host = host;
    this.#heaps = {
      variable: new DeviceHeap(backend),
      accumulator: new DeviceHeap(backend),
      average: new DeviceHeap(backend),
    };
  }

  /** Changes whenever an array is made or dropped. */
  get generation(): number {
    return this.#generation;
  }

  get areCurrent(): boolean {
    return this.#behind === 0;
  }

  get(memory: number, offset: number): DeviceArray | undefined {
    return this.#arrays.get(keyOf(memory, offset));
  }

  /** Room for an array of a segment; the one it has, if it has some. @throws GpuMemoryError */
  ensure(update: UpdatePlan, segment: SegmentPlan, { role, offset, perRow }: SegmentArray): DeviceArray {
    const { dtype, rowSize } = update;
    const known = this.get(segment.memory, offset);
    if (known !== undefined) return known;
    const { bytes } = dtypeInfo[dtype];
    const pieces: DeviceArray["pieces"][number][] = [];
    try {
      for (const { start, count } of cut(segment.count, rowSize, dtype, this.#backend.limits)) {
        const unit = perRow ? rowSize : 1;
        const place = this.#heaps[role].allocate((count / unit) * bytes);
        pieces.push({ place, start: start / unit, count: count / unit });
      }
    } catch (error) {
      for (const { place } of pieces) this.#heaps[role].free(place);
      throw error;
    }
    const made = { role, memory: segment.memory, offset, dtype, pieces, current: false, changes: 0 };
    this.#arrays.set(keyOf(segment.memory, offset), made);
    this.#generation++;
    this.#behind++;
    return made;
  }

  /** The host has written the array, or may. */
  changed(memory: number, offset: number): void {
    const array = this.get(memory, offset);
    if (array === undefined) return;
    array.changes++;
    if (!array.current) return;
    array.current = false;
    this.#behind++;
  }

  /** Whether an array lies whole in a buffer of its own. */
  isAlone({ role, pieces }: DeviceArray): boolean {
    return pieces.length === 1 && this.#heaps[role].isAlone(pieces[0]!.place);
  }

  /** A buffer for one array. @throws GpuMemoryError */
  roomAlone(bytes: number): Place {
    return this.#heaps.variable.allocateAlone(bytes);
  }

  /** Gives an array, which may be a new one, a buffer of its own. Its values there are the caller's to copy before. */
  moveTo({ memory, offset, dtype, count }: SharedArray, place: Place): void {
    const known = this.get(memory, offset);
    const pieces = [{ place, start: 0, count }];
    const { role, current } = known ?? { role: "variable", current: false };
    // What is going up to the old place in parts ends: it finds another array here.
    if (known === undefined) this.#behind++;
    this.#generation++;
    this.#arrays.set(keyOf(memory, offset), { role, memory, offset, dtype, pieces, current, changes: 0 });
    for (const { place: before } of known?.pieces ?? []) this.#heaps[known!.role].free(before);
  }

  drop(memory: number, offset: number): void {
    const array = this.get(memory, offset);
    if (array === undefined) return;
    this.#arrays.delete(keyOf(memory, offset));
    this.#generation++;
    if (!array.current) this.#behind--;
    for (const { place } of array.pieces) this.#heaps[array.role].free(place);
  }

  /** Copies the host's values up, unless the device has them. */
  bringUp(array: DeviceArray): void {
    if (array.current) return;
    const { bytes } = dtypeInfo[array.dtype];
    for (const { place, start, count } of array.pieces) {
      const source = this.#host.bytes(array.memory, array.offset + start * bytes, count * bytes);
      this.#backend.upload(place.buffer, place.offset, source);
    }
    array.current = true;
    this.#behind--;
  }

  /**
   * The same of a large array in parts, with turns of the event loop between. Leaves it to the next launch when it was
   * changed, brought up or dropped meanwhile.
   */
  async bringUpInParts(array: DeviceArray): Promise<void> {
    const { memory, offset, pieces, dtype, changes } = array;
    const { bytes } = dtypeInfo[dtype];
    if (pieces.reduce((sum, { count }) => sum + count * bytes, 0) <= PART) return;
    for (const { place, start, count } of pieces) {
      for (let at = 0; at < count * bytes; at += PART) {
        const length = Math.min(PART, count * bytes - at);
        const isSame = this.get(memory, offset) === array && array.changes === changes;
        if (!isSame || array.current) return;
        this.#backend.upload(
          place.buffer,
          place.offset + at,
          this.#host.bytes(memory, offset + start * bytes + at, length),
        );
        await setImmediate();
      }
    }
    if (this.get(memory, offset) !== array || array.changes !== changes || array.current) return;
    array.current = true;
    this.#behind--;
  }

  async download(array: DeviceArray, target: Uint8Array): Promise<void> {
    const { bytes } = dtypeInfo[array.dtype];
    const parts = array.pieces.map(({ place, start, count }) =>
      this.#backend.download(
        place.buffer,
        place.offset,
        target.subarray(start * bytes, (start + count) * bytes),
      ),
    );
    await Promise.all(parts);
  }
}

/** Offsets are below 2^32. */
function keyOf(memory: number, offset: number): number {
  return memory * 2 ** 32 + offset;
}
