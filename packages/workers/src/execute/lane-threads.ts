import { MessageChannel, type MessagePort, type Worker } from "node:worker_threads";
import { type Remote, wrap } from "comlink";
import { Piscina } from "piscina";
import { LaneLostError } from "./lane-lost-error.js";
import type { LaneAssignment, LaneControl } from "./lane-worker.js";

/** A thread that is a lane. */
export interface Lane {
  readonly worker: Worker;
  readonly port: MessagePort;
  /** One long-lived proxy a lane, held here so that it is never collected with calls in flight. */
  readonly remote: Remote<LaneControl>;
  /** Resolves when the thread has ended. */
  readonly gone: Promise<void>;
  /** It has ended, or was given up. */
  lost: boolean;
  ended: boolean;
}

/** Makes the threads of a pool; piscina replaces those that end. */
export class LaneThreads {
  readonly #piscina: Piscina;
  /** Lanes that are being started, and how many of them have no thread yet. */
  readonly #starting = new Set<AbortController>();
  #withoutThread = 0;

  /** @param onError - told what ended a thread, before its `exit` */
  constructor(lanes: number, onError: (error: unknown) => void) {
    const assigned = new Set<number>();
    this.#piscina = new Piscina({
      filename: new URL("./lane-worker.js", import.meta.url).href,
      minThreads: lanes,
      maxThreads: lanes,
      concurrentTasksPerWorker: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      // Lanes wait on their own doorbell; piscina's blocking wait would starve their event loop.
      atomics: "disabled",
      recordTiming: false,
      // A loader of the host application would only slow the lanes down: they run plain JavaScript.
      execArgv: [],
      // Placement: each thread is given exactly one lane, for life.
      loadBalancer: (_task, workers) => {
        const free = workers.find((worker) => !assigned.has(worker.id));
        if (free === undefined) return null;
        assigned.add(free.id);
        this.#withoutThread--;
        return free;
      },
    });
    this.#piscina.on("error", onError);
    // Piscina makes no other thread for one that ends before it is ready, and leaves the lanes that wait for it waiting.
    this.#piscina.on("workerDestroy", () => {
      queueMicrotask(() => {
        const free = this.#piscina.threads.filter(({ threadId }) => !assigned.has(threadId)).length;
        if (free >= this.#withoutThread) return;
        this.#withoutThread = 0;
        for (const controller of this.#starting) controller.abort();
      });
    });
  }

  /** @throws LaneLostError when the thread ends at once */
  async start(assignment: Omit<LaneAssignment, "port">): Promise<Lane> {
    const { port1, port2 } = new MessageChannel();
    const controller = new AbortController();
    this.#starting.add(controller);
    this.#withoutThread++;
    let threadId: number;
    try {
      const options = { transferList: [port2], signal: controller.signal };
      threadId = await this.#piscina.run({ ...assignment, port: port2 }, options);
    } catch (cause) {
      port1.close();
      throw notStarted(assignment.lane, cause);
    } finally {
      this.#starting.delete(controller);
    }
    const worker = this.#piscina.threads.find((thread) => thread.threadId === threadId);
    if (worker === undefined) throw notStarted(assignment.lane);
    const remote = wrap<LaneControl>(port1 as unknown as Parameters<typeof wrap>[0]);
    port1.unref();
    let resolve!: () => void;
    const gone = new Promise<void>((ended) => {
      resolve = ended;
    });
    const lane: Lane = { worker, port: port1, remote, gone, lost: false, ended: false };
    worker.once("exit", () => {
      lane.lost = true;
      lane.ended = true;
      port1.close();
      resolve();
    });
    return lane;
  }

  /** Ends all threads. */
  async destroy(): Promise<void> {
    await this.#piscina.destroy();
  }
}

function notStarted(lane: number, cause?: unknown): LaneLostError {
  return new LaneLostError(lane, [], { cause, message: `The thread of lane ${lane} did not start.` });
}
