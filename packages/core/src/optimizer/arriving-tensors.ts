import {
  type Arena,
  type ArrivingGradients,
  MemoryExhaustedError,
  type MemoryPool,
  TemporaryBlocks,
  type TypedArray,
  viewOf,
} from "@shardgrad/workers";
import type { HeldTensor } from "../gradients/held-tensor.js";
import type { TensorLike } from "../gradients/tensor.js";
import { eventLoopTurn } from "../runtime/event-loop-share.js";
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
  readonly #blocks = new TemporaryBlocks();
  readonly #lent: { readonly arena: Arena; readonly offset: number }[] = [];
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
    const offset = this.#blocks.take(arena, bytes);
    if (offset < 0) throw new MemoryExhaustedError(bytes);
    // What is lent is used in place.
    arena.lent.add(offset, bytes);
    this.#lent.push({ arena, offset });
    const array = viewOf("float32", this.#memory.bufferOf(arena), offset, length);
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
    for (const { arena, offset } of this.#lent.splice(0)) arena.lent.remove(offset);
    this.#blocks.release();
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
        await eventLoopTurn();
      }
    }
    this.#isHere = !this.#isReleased;
  }
}

/** Offsets are below 2^32. */
function keyOf(memory: number, offset: number): number {
  return memory * 2 ** 32 + offset;
}
