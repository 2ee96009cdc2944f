import { StateError } from "../errors/index.js";

/** Words of this thread alone. The first is never waited for in vain: nobody changes it, so that waiting sleeps. */
const own = new Int32Array(new SharedArrayBuffer(128));
const SLEEP = 0;
const FENCE = 16;

/** Looks before a thread sleeps: some microseconds, longer than a block of rows takes. */
const LOOKS = 200;
const SHORT_SLEEPS = 50;
/** Milliseconds after which a writer is taken for dead, and how many count between two looks: see `pause`. */
const LONGEST = 60_000;
const LONGEST_PAUSE = 100;

/**
 * No load passes it, plain ones included: earlier ones not the sequentially consistent store (which releases), later ones
 * not the load after it (which acquires), and the two not each other. Nor does the engine move loads past atomics.
 */
export function fence(): number {
  Atomics.store(own, FENCE, 0);
  return Atomics.load(own, FENCE);
}

/** Waiting of a reader: it looks again at once, then sleeps in between, and gives up at last. */
export class Patience {
  #looks = 0;
  #waited = 0;
  #lastLook = 0;
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  reset(): void {
    this.#looks = 0;
  }

  /**
   * Time in which this thread did not run hardly counts (a suspended machine, a stopped process): the writer did not run
   * either.
   * @throws StateError after a minute
   */
  pause(): void {
    const looks = this.#looks++;
    if (looks < LOOKS) return;
    const now = performance.now();
    if (looks === LOOKS) this.#waited = 0;
    else this.#waited += Math.min(now - this.#lastLook, LONGEST_PAUSE);
    this.#lastLook = now;
    if (this.#waited > LONGEST) throw stuck(this.#name);
    Atomics.wait(own, SLEEP, 0, looks < LOOKS + SHORT_SLEEPS ? 0.05 : 1);
  }
}

export function stuck(name: string): StateError {
  return new StateError(`${name} cannot be read: a step that writes it does not end.`);
}
