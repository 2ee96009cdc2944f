/**
 * The example's own worker threads. They read the embedding tables in place (variable.data lies on shared memory)
 * and write into shared arrays, so a message carries a few numbers and no copy is made.
 */
import { Worker } from "node:worker_threads";
import type { GradientJob } from "./gradients.js";
import type { RankingJob } from "./ranking.js";

export type Task =
  /** Takes up a job; the steps that follow belong to it. */
  | { readonly kind: "job"; readonly job: GradientJob }
  | { readonly kind: "gradients"; readonly step: number; readonly first: number }
  | { readonly kind: "rank"; readonly job: RankingJob };

/** What a worker is started with: the next piece of work (shard or block) that nobody has taken, counted atomically. */
export interface TeamData {
  readonly next: Int32Array;
}

export class Team {
  readonly #workers: readonly Worker[];
  readonly #next = new Int32Array(new SharedArrayBuffer(4));
  #waiting = 0;
  #settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
  #failure: Error | undefined;

  constructor(threads: number) {
    const workerData: TeamData = { next: this.#next };
    this.#workers = Array.from({ length: threads }, () => {
      const worker = new Worker(new URL("./worker.js", import.meta.url), { workerData });
      worker.on("message", () => {
        this.#waiting--;
        if (this.#waiting === 0) this.#settle?.resolve();
      });
      worker.on("error", (error) => {
        this.#failure = error instanceof Error ? error : new Error(String(error));
        this.#settle?.reject(this.#failure);
      });
      return worker;
    });
  }

  /** Runs a task on all workers, who share out its pieces; one task at a time. */
  run(task: Task): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    this.#next[0] = 0;
    this.#waiting = this.#workers.length;
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      for (const worker of this.#workers) worker.postMessage(task);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
