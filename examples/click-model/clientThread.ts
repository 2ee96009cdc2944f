/** A client in a thread of its own, so that its work does not count against the service's event loop. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { ClientJob, ClientMessage } from "./client.js";

export class ClientThread {
  readonly #worker: Worker;
  readonly #ready: Promise<ClientMessage>;

  constructor(job: ClientJob) {
    this.#worker = new Worker(new URL("./client.js", import.meta.url), { workerData: job });
    this.#ready = this.#next();
    // Whoever awaits it sees the failure; until then it must not count as unhandled.
    this.#ready.catch(() => {});
  }

  /** Resolves when the thread has read its flights. */
  async ready(): Promise<void> {
    await this.#ready;
  }

  /** Begins; resolves to what the client reports at its end. */
  start(): Promise<ClientMessage> {
    const done = this.#next();
    this.#worker.postMessage("start");
    return done;
  }

  /** Tells a prober to end. */
  stop(): void {
    this.#worker.postMessage("stop");
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  async #next(): Promise<ClientMessage> {
    const [message] = await once(this.#worker, "message");
    return message;
  }
}
