import { once } from "node:events";
import { MessageChannel, Worker } from "node:worker_threads";
import type { Variable } from "@shardgrad/core";

const [STOP, READS, TORN, REFUSED, WORDS] = [0, 1, 2, 3, 4];

export interface ReadersOptions {
  readonly threads?: number;
  readonly rowsAtOnce?: number;
  /**
   * Whether the variables are resized: rows that went, or came in memory that a handle does not know, may be refused then.
   * So many first variables have each row's number in its first element, which is checked instead of being equal.
   */
  readonly resized?: { readonly numbered: number };
}

/** Threads that read random rows of variables all the time. Rows must have equal elements whenever they are whole. */
export class Readers {
  readonly #threads;

  constructor(
    variables: readonly Variable[],
    { threads = 1, rowsAtOnce = 16, resized }: ReadersOptions = {},
  ) {
    this.#threads = Array.from({ length: threads }, (_, i) => {
      const control = new Int32Array(new SharedArrayBuffer(4 * WORDS!));
      const { port1: port, port2 } = new MessageChannel();
      const workerData = { port: port2, control, seed: 1 + i, rowsAtOnce, resized };
      const worker = new Worker(new URL("./reader-worker.mjs", import.meta.url), {
        workerData,
        transferList: [port2],
      });
      port.unref();
      return { control, port, exit: once(worker, "exit") };
    });
    this.handOut(variables);
  }

  /** From now on the threads read these variables; with `resized` by the last handles that they were given, too. */
  handOut(variables: readonly Variable[]): void {
    const handles = variables.map((variable) => variable.handle());
    for (const { port } of this.#threads) port.postMessage(handles);
  }

  /** Rows that the slowest thread has read. */
  get reads(): number {
    return Math.min(...this.#threads.map(({ control }) => Atomics.load(control, READS!)));
  }

  get torn(): number {
    return this.#sum(TORN!);
  }

  /** Gathers that were refused. */
  get refused(): number {
    return this.#sum(REFUSED!);
  }

  #sum(word: number): number {
    return this.#threads.reduce((sum, { control }) => sum + Atomics.load(control, word), 0);
  }

  /** Ends the threads. @throws what one of them threw */
  async stop(): Promise<void> {
    for (const { control } of this.#threads) Atomics.store(control, STOP!, 1);
    for (const { exit } of this.#threads) await exit;
  }

  /** Does `work` until it was done `least` times and each thread has read so many rows meanwhile. */
  async during(
    work: (turn: number) => Promise<void>,
    { least = 1, reads = 1 }: { least?: number; reads?: number } = {},
  ): Promise<number> {
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
