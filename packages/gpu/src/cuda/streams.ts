import type { CudaDriver } from "./driver.js";
import type { Events } from "./events.js";
import type { CudaBuffer } from "./memory.js";
import type { CudaResources } from "./resources.js";

/** Events that tell which launches have ended; more than launches are likely to be under way. */
const USE_EVENTS = 16;

/**
 * The two streams of a back end, and what keeps their works in order. Uploads have a stream of their own and overlap with
 * launches:
 *
 * - a launch waits for the uploads before it (one event, recorded when the first launch after them is enqueued);
 * - an upload waits for the launches before it that use its buffer. Uses are numbered, use n records event n mod 16:
 *   when an event was recorded again, waiting for it means waiting for a later use, which includes the earlier one.
 *
 * All calls are made in the context of the device, and throw CudaErrors.
 */
export class Streams {
  readonly compute: number;
  readonly copies: number;
  readonly #driver: CudaDriver;
  readonly #events: Events;
  readonly #uploaded: number;
  readonly #used: readonly number[];
  #uploadsPending = false;
  #uses = 0;
  /** The last use that the copies have waited for. */
  #copiesSaw = 0;

  constructor(resources: CudaResources) {
    this.#driver = resources.driver;
    this.#events = resources.events;
    this.compute = resources.stream();
    this.copies = resources.stream();
    this.#uploaded = this.#events.take();
    this.#used = Array.from({ length: USE_EVENTS }, () => this.#events.take());
  }

  /** Copies write the buffer from here on: they wait for the launches that use it. */
  waitForUses({ lastUse }: CudaBuffer): void {
    if (lastUse <= this.#copiesSaw) return;
    this.#driver.call("cuStreamWaitEvent", this.copies, this.#used[lastUse % USE_EVENTS]!, 0);
    this.#copiesSaw = lastUse;
  }

  /** Something was enqueued to be copied up. */
  markUpload(): void {
    this.#uploadsPending = true;
  }

  /** What is enqueued to compute from here on waits for the uploads so far. */
  joinUploads(): void {
    if (!this.#uploadsPending) return;
    this.#driver.call("cuEventRecord", this.#uploaded, this.copies);
    this.#driver.call("cuStreamWaitEvent", this.compute, this.#uploaded, 0);
    this.#uploadsPending = false;
  }

  /** What was enqueued to compute uses the buffers. */
  markUse(buffers: readonly CudaBuffer[]): void {
    this.#uses++;
    for (const buffer of buffers) buffer.lastUse = this.#uses;
    this.#driver.call("cuEventRecord", this.#used[this.#uses % USE_EVENTS]!, this.compute);
  }

  /** An event behind everything that is enqueued to compute; to be given back. */
  record(): number {
    const event = this.#events.take();
    this.#driver.call("cuEventRecord", event, this.compute);
    return event;
  }

  /** Holds up the caller until everything has ended. */
  waitForAll(): void {
    this.joinUploads();
    const event = this.record();
    this.#driver.call("cuEventSynchronize", event);
    this.#events.give(event);
  }
}
