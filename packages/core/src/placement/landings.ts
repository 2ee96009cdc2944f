import { eventLoopTurn } from "../runtime/event-loop-share.js";

/** Copies a part each time the next value is asked for. */
export type Landing = Generator<void, void, unknown>;

/**
 * Values that have come from an accelerator, on their way to where the host has its copies: a part in each turn of the event
 * loop, and one landing after the other.
 *
 * Invariant: between two turns the host's copies are whole, but for those of the landing that is under way. `finish` makes
 * these whole, too.
 */
export class Landings {
  #last: Promise<void> = Promise.resolve();
  #current: Landing | undefined;

  /** Resolves when everything is where it belongs. A landing starts when those before it have ended. */
  land(landing: Landing): Promise<void> {
    const landed = this.#last.then(() => this.#run(landing));
    this.#last = landed.catch(() => {});
    return landed;
  }

  /** Ends the landing that is under way, at once. */
  finish(): void {
    if (this.#current !== undefined) for (const _ of this.#current);
  }

  async #run(landing: Landing): Promise<void> {
    this.#current = landing;
    try {
      for (const _ of landing) await eventLoopTurn();
    } finally {
      this.#current = undefined;
    }
  }
}
