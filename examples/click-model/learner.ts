/** The queue of batches to learn: one step at a time, in the order of arrival, and no more than fit. */
import type { LandedFlight } from "./flights.js";
import type { Model } from "./model.js";
import { maxEvents } from "./schemas.js";
import { Scores, WindowScores } from "./scores.js";

/** The queue has no room for the batch now; it will have later. */
export class BusyError extends Error {
  override readonly name = "BusyError";
  readonly code = "BUSY";
  readonly statusCode = 503;
}

/** The learner takes no more batches. */
export class StoppedError extends Error {
  override readonly name = "StoppedError";
  readonly code = "STOPPED";
  readonly statusCode = 503;
}

export interface LearnerOptions {
  /** Most events that may wait. */
  readonly maxQueue: number;
  /** Most events of one step. */
  readonly stepSize: number;
  /** Events of the recent window. */
  readonly windowSize: number;
}

export const defaultLearner: LearnerOptions = { maxQueue: 4096, stepSize: 128, windowSize: 20_000 };

export class Learner {
  readonly options: LearnerOptions;
  /** Each event's probability just before it was learned, against its outcome. */
  readonly scores = new Scores();
  readonly window: WindowScores;
  readonly #model: Model;
  readonly #queue: LandedFlight[][] = [];
  #waiting = 0;
  #steps = 0;
  #failedSteps = 0;
  #lastFailed = false;
  #stopped = false;
  #running: Promise<void> | undefined;

  constructor(model: Model, options: LearnerOptions = defaultLearner) {
    if (options.maxQueue < maxEvents) {
      // A request that never fits would be told to come again for ever.
      throw new RangeError(`maxQueue must be at least ${maxEvents}, the most of a request`);
    }
    this.options = options;
    this.window = new WindowScores(options.windowSize);
    this.#model = model;
  }

  /** Events that wait or are being learned. */
  get waiting(): number {
    return this.#waiting;
  }

  get steps(): number {
    return this.#steps;
  }

  /** Steps that were refused or broken off; their events are lost. */
  get failedSteps(): number {
    return this.#failedSteps;
  }

  /** Whether the last step failed; one that succeeds makes up for it. */
  get lastFailed(): boolean {
    return this.#lastFailed;
  }

  /** Takes events to learn, all or none. @throws BusyError, StoppedError */
  accept(flights: readonly LandedFlight[]): void {
    if (this.#stopped) throw new StoppedError("The service is stopping and learns nothing more");
    const { maxQueue, stepSize } = this.options;
    if (this.#waiting + flights.length > maxQueue) {
      throw new BusyError(
        `${this.#waiting} events wait to be learned, ${flights.length} more do not fit into ${maxQueue}`,
      );
    }
    for (let i = 0; i < flights.length; i += stepSize) this.#queue.push(flights.slice(i, i + stepSize));
    this.#waiting += flights.length;
    this.#running ??= this.#run();
  }

  /** Takes no more, and resolves when all that waits is learned. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let batch = this.#queue.shift(); batch !== undefined; batch = this.#queue.shift()) {
      // A turn of the event loop for every step: requests come first.
      await new Promise((resolve) => setImmediate(resolve));
      await this.#learn(batch);
      this.#waiting -= batch.length;
    }
    this.#running = undefined;
  }

  async #learn(batch: readonly LandedFlight[]): Promise<void> {
    try {
      const probabilities = await this.#model.learn(batch);
      this.#steps++;
      this.#lastFailed = false;
      for (let i = 0; i < batch.length; i++) {
        this.scores.add(probabilities[i]!, batch[i]!.late);
        this.window.add(probabilities[i]!, batch[i]!.late);
      }
    } catch (error) {
      // One bad step must not end the service; its number shows in the metrics and in /healthz.
      this.#failedSteps++;
      this.#lastFailed = true;
      process.emitWarning(error instanceof Error ? error : String(error));
    }
  }
}
