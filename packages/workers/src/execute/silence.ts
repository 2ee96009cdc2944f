/** Most milliseconds that count between two looks: they are apart no longer than this while the process runs. */
const LONGEST_PAUSE = 100;

/**
 * How long threads have made no progress. Time in which the looking thread did not run itself (a suspended machine, a
 * stopped process, no processor) hardly counts: the others had as little of it.
 */
export class Silence {
  readonly #patience: number;
  #idle = 0;
  #lastLook = performance.now();
  #progress: number | undefined;

  /** @param patience - milliseconds without progress that are too long */
  constructor(patience: number) {
    this.#patience = patience;
  }

  /** A look, at least every 50 ms. @param progress - any number that changes with it */
  isTooLong(progress: number): boolean {
    const now = performance.now();
    if (progress === this.#progress) this.#idle += Math.min(now - this.#lastLook, LONGEST_PAUSE);
    else this.#idle = 0;
    this.#progress = progress;
    this.#lastLook = now;
    return this.#idle > this.#patience;
  }
}
