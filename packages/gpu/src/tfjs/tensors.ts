import type { HostMemory } from "@shardgrad/workers";
import { hostTensor } from "./slices.js";
import type { Tf, TfTensor } from "./tf.js";

/** An array of the host that lives in tfjs. */
export interface Resident {
  readonly memory: number;
  readonly offset: number;
  /** Elements. */
  readonly count: number;
  tensor: TfTensor | undefined;
  /** Whether the tensor has the current values: else the host's go up before the next step. */
  current: boolean;
}

/**
 * The arrays that live in tfjs. Their tensors are kept, not variables of tfjs: neither the application's `tidy` nor its
 * `disposeVariables` reaches them.
 */
export class Tensors {
  readonly #tf: Tf;
  readonly #host: HostMemory;
  readonly #residents = new Map<number, Resident>();

  constructor(tf: Tf, host: HostMemory) {
    this.#tf = tf;
    this.#host = host;
  }

  get(memory: number, offset: number): Resident | undefined {
    return this.#residents.get(keyOf(memory, offset));
  }

  ensure(memory: number, offset: number, count: number): void {
    if (this.get(memory, offset) !== undefined) return;
    this.#residents.set(keyOf(memory, offset), { memory, offset, count, tensor: undefined, current: false });
  }

  /** The current values. */
  tensorOf(memory: number, offset: number): TfTensor {
    const resident = this.get(memory, offset)!;
    if (resident.current && resident.tensor !== undefined) return resident.tensor;
    const tensor = hostTensor(this.#tf, this.#host, memory, offset, [resident.count]);
    this.replace(memory, offset, tensor);
    return tensor;
  }

  /** Takes a tensor in place of the one that an array had. */
  replace(memory: number, offset: number, tensor: TfTensor): void {
    const resident = this.get(memory, offset)!;
    if (resident.tensor !== tensor) {
      resident.tensor?.dispose();
      resident.tensor = this.#tf.keep(tensor);
    }
    resident.current = true;
  }

  drop(memory: number, offset: number): void {
    this.get(memory, offset)?.tensor?.dispose();
    this.#residents.delete(keyOf(memory, offset));
  }

  /** Bytes of all tensors. */
  get bytes(): number {
    let elements = 0;
    for (const { tensor, count } of this.#residents.values()) elements += tensor === undefined ? 0 : count;
    return elements * 4;
  }

  clear(): void {
    for (const { tensor } of this.#residents.values()) tensor?.dispose();
    this.#residents.clear();
  }
}

/** Offsets are below 2^32. */
function keyOf(memory: number, offset: number): number {
  return memory * 2 ** 32 + offset;
}
