import { performance } from "node:perf_hooks";
import { setImmediate, setTimeout } from "node:timers/promises";
import type { CudaDriver } from "./driver.js";
import { NOT_READY } from "./results.js";

/** CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING: waiting threads sleep. */
const QUIET = 3;
/** CU_EVENT_BLOCKING_SYNC: the device's clock is read when the event is reached. */
const TIMED = 1;
/** How long work is asked after at every turn of the event loop, before a thread waits for it. */
const ASKING_MS = 0.2;

/** Events of one context, and waiting for them without holding up the event loop. */
export class Events {
  readonly #driver: CudaDriver;
  readonly #context: number;
  readonly #idle: number[] = [];
  readonly #all: number[] = [];
  /** Whether a thread without a context may wait for an event: the documentation does not say. */
  #threadsMayWait = true;
  #thread: Promise<void> | undefined;

  constructor(driver: CudaDriver, context: number) {
    this.#driver = driver;
    this.#context = context;
  }

  take(): number {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const made = this.#driver.word("cuEventCreate", QUIET);
    this.#all.push(made);
    return made;
  }

  give(event: number): void {
    this.#idle.push(event);
  }

  /** An event with a time, for `elapsed`. */
  timed(): number {
    const made = this.#driver.word("cuEventCreate", TIMED);
    this.#all.push(made);
    return made;
  }

  /** Milliseconds from one timed event to another; neither can be used again. */
  elapsed(start: number, end: number): number {
    const milliseconds = new Float32Array(1);
    this.#driver.call("cuEventElapsedTime", milliseconds, start, end);
    for (const event of [start, end]) {
      this.#driver.call("cuEventDestroy_v2", event);
      this.#all.splice(this.#all.indexOf(event), 1);
    }
    return milliseconds[0]!;
  }

  /** Resolves when what was recorded has ended. @throws CudaError, a failure of earlier work among them */
  async ended(event: number): Promise<void> {
    const start = performance.now();
    while (!this.hasEnded(event)) {
      if (performance.now() - start < ASKING_MS) await setImmediate();
      else if (!this.#threadsMayWait) await setTimeout(1);
      else {
        // One thread waits for all who wait: there are few, and the program's files and name lookups need them, too.
        this.#thread ??= this.#waitOnThread(event).finally(() => {
          this.#thread = undefined;
        });
        await this.#thread;
      }
    }
  }

  /** Never rejects: a failure of earlier work shows on the calling thread as well, which asks next. */
  async #waitOnThread(event: number): Promise<void> {
    const result = await this.#driver.async("cuEventSynchronize", event).catch(() => undefined);
    if (result !== 0) this.#threadsMayWait = false;
  }

  hasEnded(event: number): boolean {
    this.#driver.call("cuCtxSetCurrent", this.#context);
    const result = this.#driver.try("cuEventQuery", event);
    if (result !== 0 && result !== NOT_READY) throw this.#driver.error("cuEventQuery", result);
    return result === 0;
  }

  close(): void {
    for (const event of this.#all) this.#driver.try("cuEventDestroy_v2", event);
    this.#all.length = 0;
    this.#idle.length = 0;
  }
}
