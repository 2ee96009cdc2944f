import { ClosedRuntimeError, QueueFullError } from "../errors/index.js";

interface Waiting {
  start(): void;
  refuse(reason: unknown): void;
}

/**
 * Runs steps one after another in the order of the calls. A step that finds the queue empty starts before the
 * call returns; the others wait, at most `maxWaiting` of them.
 */
export class StepQueue {
  readonly #waiting: Waiting[] = [];
  readonly #maxWaiting: number;
  readonly #onDrain: () => void;
  #running = false;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(maxWaiting: number, onDrain: () => void) {
    this.#maxWaiting = maxWaiting;
    this.#onDrain = onDrain;
  }

  /** Steps that wait or run. */
  get pending(): number {
    return this.#waiting.length + (this.#running ? 1 : 0);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * @throws ClosedRuntimeError, QueueFullError, or the signal's reason when it is aborted before the step
   * starts; a step that has started always ends.
   */
  run<T>(step: () => T | Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#closed) return Promise.reject(new ClosedRuntimeError());
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#running && this.#waiting.length >= this.#maxWaiting) {
      const message = `The queue of the runtime is full: ${this.#waiting.length} steps are waiting (maxQueue).`;
      return Promise.reject(new QueueFullError(message));
    }
    return this.runAlways(step, signal);
  }

  /** The same for work that must come behind what waits or runs, in a closed or full queue, too. */
  runAlways<T>(step: () => T | Promise<T>, signal?: AbortSignal): Promise<T> {
    if (!this.#running) return this.#start(step);
    return new Promise<T>((resolve, reject) => {
      const entry: Waiting = {
        start: () => {
          signal?.removeEventListener("abort", abort);
          this.#start(step).then(resolve, reject);
        },
        refuse: (reason) => {
          signal?.removeEventListener("abort", abort);
          reject(reason);
        },
      };
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1);
        entry.refuse(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.push(entry);
    });
  }

  async #start<T>(step: () => T | Promise<T>): Promise<T> {
    this.#running = true;
    try {
      return await step();
    } finally {
      this.#next();
    }
  }

  #next(): void {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next.start();
      return;
    }
    this.#running = false;
    for (const wake of this.#idle.splice(0)) wake();
    this.#onDrain();
  }

  /** Takes no new steps from now on. */
  close(): void {
    this.#closed = true;
  }

  /** Refuses the steps that have not started. */
  refuseWaiting(reason: unknown): void {
    for (const entry of this.#waiting.splice(0)) entry.refuse(reason);
  }

  /** Resolves when no step waits or runs. */
  drained(): Promise<void> {
    if (!this.#running) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
    });
  }
}
