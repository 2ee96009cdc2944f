import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Variable } from "@shardgrad/core";

const [STOP, READS, TORN, WORDS] = [0, 1, 2, 3];

/** Threads that read random rows of variables all the time. Rows must have equal elements whenever they are whole. */
export class Readers {
  readonly #threads: readonly { worker: Worker; control: Int32Array; exit: Promise<unknown> }[];

  constructor(variables: readonly Variable[], { threads = 1, rowsAtOnce = 16 } = {}) {
    const handles = variables.map((variable) => variable.handle());
    this.#threads = Array.from({ length: threads }, (_, i) => {
      const control = new Int32Array(new SharedArrayBuffer(4 * WORDS!));
      const workerData = { handles, control, seed: 1 + i, rowsAtOnce };
      const worker = new Worker(new URL("./reader-worker.mjs", import.meta.url), { workerData });
      return { worker, control, exit: once(worker, "exit") };
    });
  }

  /** Rows that the slowest thread has read. */
  get reads(): number {
    return Math.min(...this.#threads.map(({ control }) => Atomics.load(control, READS!)));
  }

  get torn(): number {
    return this.#threads.reduce((sum, { control }) => sum + Atomics.load(control, TORN!), 0);
  }

  /** Ends the threads. @throws what one of them threw */
  async stop(): Promise<void> {
    for (const { control } of this.#threads) Atomics.store(control, STOP!, 1);
    for (const { exit } of this.#threads) await exit;
  }

  /** Does `work` until it was done `least` times and each thread has read so many rows meanwhile. */
  async during(work: (turn: number) => Promise<void>, { least = 1, reads = 1 } = {}): Promise<number> {
    const failed = Promise.all(this.#threads.map(({ exit }) => exit)).then(() => {
      throw new Error("The readers ended.");
    });
    failed.catch(() => {});
    while (this.reads === 0) await Promise.race([failed, new Promise((resolve) => setTimeout(resolve, 5))]);
    const before = this.reads;
    let turns = 0;
    while (turns < least || this.reads - before < reads) {
      await Promise.race([failed, work(turns)]);
      turns++;
      // The end of a thread is heard in a turn of the event loop only.
      if (turns % 8 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    return turns;
  }
}
