import type { HostMemory } from "@shardgrad/workers";
import { hostTensor } from "./slices.js";
import type { Tf } from "./tf.js";
import type { MakeArray, TfArray } from "./tf-array.js";

/** An array of the host that lives in tfjs. */
export interface Resident {
  readonly shape: TfArray["shape"];
  array: TfArray | undefined;
  /** Whether the array has the current values: else the host's go up before the next step. */
  current: boolean;
}

/** The arrays that live in tfjs. */
export class Arrays {
  readonly #tf: Tf;
  readonly #host: HostMemory;
  readonly #make: MakeArray;
  readonly #residents = new Map<number, Resident>();

  constructor(tf: Tf, host: HostMemory, make: MakeArray) {
    this.#tf = tf;
    this.#host = host;
    this.#make = make;
  }

  get(memory: number, offset: number): Resident | undefined {
    return this.#residents.get(keyOf(memory, offset));
  }

  ensure(memory: number, offset: number, shape: TfArray["shape"]): void {
    if (this.get(memory, offset) !== undefined) return;
    this.#residents.set(keyOf(memory, offset), { shape, array: undefined, current: false });
  }

  /** With the current values. */
  current(memory: number, offset: number): TfArray {
    const resident = this.get(memory, offset)!;
    if (resident.current && resident.array !== undefined) return resident.array;
    this.#tf.tidy(() => {
      const values = hostTensor(this.#tf, this.#host, memory, offset, [...resident.shape]);
      if (resident.array === undefined) resident.array = this.#make(values);
      else resident.array.assign(values);
    });
    resident.current = true;
    return resident.array!;
  }

  drop(memory: number, offset: number): void {
    this.get(memory, offset)?.array?.dispose();
    this.#residents.delete(keyOf(memory, offset));
  }

  /** Bytes of all arrays. */
  get bytes(): number {
    let elements = 0;
    for (const { array, shape } of this.#residents.values()) {
      if (array !== undefined) elements += shape[0] * shape[1];
    }
    return elements * 4;
  }

  clear(): void {
    for (const { array } of this.#residents.values()) array?.dispose();
    this.#residents.clear();
  }
}

/** Offsets are below 2^32. */
function keyOf(memory: number, offset: number): number {
  return memory * 2 ** 32 + offset;
}
