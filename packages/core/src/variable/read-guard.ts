import { DisposedVariableError, IndexError, StateError } from "../errors/index.js";
import { rowNumbers } from "../gradients/gradient.js";
import { type SharedHeader, SLOTS, WHOLE } from "./header.js";
import { fence, Patience, stuck } from "./patience.js";

/**
 * The words for writes of a whole variable, as a reader uses them: `enter`, copy, `left`; and again unless it was true.
 * `enter` loads the words, by which no later load passes it; `left` fences off what was copied and loads them again.
 */
export class ReadGuard {
  readonly #name: string;
  readonly #header: SharedHeader;
  readonly #words: Int32Array;
  readonly #ownWord: number;
  readonly #otherWord: number;
  readonly #checksAlive: boolean;
  readonly patience: Patience;
  #own = 0;
  #other = 0;
  /** Whether averages are kept lazily: variable and slots are read together then, under both words. */
  lazy = false;

  /** @param checksAlive - false for the owner, which holds the memory while it reads */
  constructor(name: string, header: SharedHeader, checksAlive: boolean) {
    this.#name = name;
    this.#header = header;
    this.#words = header.guard;
    this.#ownWord = header.isSlot ? SLOTS : WHOLE;
    this.#otherWord = header.isSlot ? WHOLE : SLOTS;
    this.#checksAlive = checksAlive;
    this.patience = new Patience(name);
  }

  /**
   * Waits until nothing is written under the words.
   * @throws DisposedVariableError, StateError
   */
  enter(): void {
    for (;;) {
      this.lazy = this.#header.lazy;
      this.#refuseWhenDisposed();
      this.#own = Atomics.load(this.#words, this.#ownWord);
      this.#other = this.lazy ? Atomics.load(this.#words, this.#otherWord) : 0;
      if (((this.#own | this.#other) & 1) === 0 || this.#writerIsThisThread()) return;
      this.patience.pause();
    }
  }

  /** Whether nothing was written under the words since `enter`. @throws DisposedVariableError */
  left(): boolean {
    fence();
    const same =
      Atomics.load(this.#words, this.#ownWord) === this.#own &&
      (!this.lazy || Atomics.load(this.#words, this.#otherWord) === this.#other) &&
      this.#header.lazy === this.lazy;
    this.#refuseWhenDisposed();
    return same;
  }

  /** Of a row that the reader cannot reach, once `left` was true. @throws IndexError, StateError */
  refuse(row: number): never {
    const { rows } = this.#header;
    if (row < rows) {
      const message = `Row ${row} of ${this.#name} lies in memory that was added later: take a new handle.`;
      throw new StateError(message);
    }
    throw new IndexError({ argument: "indices", received: row, expected: rowNumbers(rows) });
  }

  /**
   * The owner makes the words even in a later turn of its event loop, for which it cannot wait here. It waits for the
   * lanes instead; afterwards nobody writes before this thread lets somebody.
   */
  #writerIsThisThread(): boolean {
    const { owner, isSlot } = this.#header;
    if (owner === undefined) return false;
    const { variable, slots } = owner.pausedWrites;
    if (((this.lazy || !isSlot) && variable) || ((this.lazy || isSlot) && slots)) {
      const message = `${this.#name} is being filled by a step that has begun: await it, or use \`gatherAsync\`.`;
      throw new StateError(message);
    }
    if (!owner.settle()) throw stuck(this.#name);
    return true;
  }

  #refuseWhenDisposed(): void {
    if (this.#checksAlive && !this.#header.alive) throw disposedError(this.#name);
    if (this.lazy && !this.#header.modelAlive) throw disposedError(`of ${this.#name}`);
  }
}

export function disposedError(name: string): DisposedVariableError {
  const message = `The variable ${name} was disposed.`;
  return new DisposedVariableError({
    argument: "variable",
    received: name,
    expected: "a live variable",
    message,
  });
}

/** @throws DisposedVariableError */
export function refuseWhenDisposed(variable: { readonly disposed: boolean; readonly name: string }): void {
  if (variable.disposed) throw disposedError(variable.name);
}
