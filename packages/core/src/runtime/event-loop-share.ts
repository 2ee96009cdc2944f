/** Milliseconds of small steps in one turn of the event loop before it is let run. */
const LONGEST_BURST = 1;

/**
 * Small steps run on the calling thread and settle by microtasks alone: a loop that awaits one after another would
 * never let timers and sockets have their turn. This keeps count of such bursts.
 */
export class EventLoopShare {
  #burstStart: number | undefined;

  /** A promise of the event loop's next turn when the current burst is long, else undefined. */
  turn(): Promise<void> | undefined {
    const now = performance.now();
    if (this.#burstStart === undefined) {
      this.#burstStart = now;
      // Runs as soon as the loop turns by itself: the burst is over.
      setImmediate(() => {
        this.#burstStart = undefined;
      });
      return undefined;
    }
    if (now - this.#burstStart < LONGEST_BURST) return undefined;
    return eventLoopTurn();
  }
}

/** Resolves in the event loop's next turn. */
export function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
