import { setImmediate } from "node:timers/promises";
import {
  type ArrivingGradients,
  MemoryExhaustedError,
  type MemoryPool,
  type TypedArray,
} from "@shardgrad/workers";
import type { HeldTensor } from "../gradients/held-tensor.js";
import type { TensorLike } from "../gradients/tensor.js";
import { variableInternals } from "../variable/internals.js";
import type { Variable } from "../variable/variable.js";

/** Elements copied between two turns of the event loop: some tenths of a millisecond. */
const CHUNK = 1 << 19;

/** Arrays in shared memory that are filled with the values of tensors as they come. */
export class ArrivingTensors implements ArrivingGradients {
  readonly #memory: MemoryPool;
  readonly #coming: { readonly held: HeldTensor; readonly array: TypedArray }[] = [];
  /** By place. */
  readonly #tensors = new Map<number, TensorLike>();
  readonly #releases: (() => void)[] = [];
  #arrived: Promise<void> = Promise.resolve();
  #isHere = false;
  #isReleased = false;

  constructor(memory: MemoryPool) {
    this.#memory = memory;
  }

  get isHere(): boolean {
    return this.#isHere;
  }

  /** Rejects with GradientReadError. */
  get arrived(): Promise<void> {
    return this.#arrived;
  }

  tensorAt(memory: number, offset: number): TensorLike | undefined {
    return this.#tensors.get(keyOf(memory, offset));
  }

  /**
   * An array for a tensor's values in the memory of its variable, where steps take it as it is.
   * @throws MemoryExhaustedError
   */
  add(held: HeldTensor, variable: Variable): TypedArray {
    const [segment] = variable[variableInternals].storage.segments;
    const { home } = segment!;
    const length = held.tensor.shape.reduce((product, n) => product * n, 1);
    if (length === 0) return new Float32Array(0);
    const bytes = 4 * length;
    const { arena } = home;
    const block = arena.allocate(bytes, false);
    if (block === undefined) throw new MemoryExhaustedError(bytes);
    const { offset } = block;
    arena.lent.add(offset, bytes);
    this.#releases.push(() => {
      arena.lent.remove(offset);
      arena.release(block);
    });
    const array = this.#memory.view(block, "float32", length);
    this.#tensors.set(keyOf(arena.id, offset), held.tensor);
    this.#coming.push({ held, array });
    return array;
  }

  /** Begins to fill the arrays. */
  start(): void {
    this.#arrived = this.#fill();
    // The step looks at it when it needs them.
    this.#arrived.catch(() => {});
  }

  /** Gives the arrays' memory back. */
  release(): void {
    this.#isReleased = true;
    this.#coming.length = 0;
    this.#tensors.clear();
    for (const release of this.#releases.splice(0)) release();
  }

  async #fill(): Promise<void> {
    let copied = 0;
    for (const { held, array } of [...this.#coming]) {
      const values = await held.values;
      for (let at = 0; at < array.length; at += CHUNK) {
        if (this.#isReleased) return;
        const part = values.subarray(at, at + CHUNK);
        array.set(part, at);
        copied += part.length;
        if (copied < CHUNK) continue;
        copied = 0;
        await setImmediate();
      }
    }
    this.#isHere = !this.#isReleased;
  }
}

/** Offsets are below 2^32. */
function keyOf(memory: number, offset: number): number {
  return memory * 2 ** 32 + offset;
}
