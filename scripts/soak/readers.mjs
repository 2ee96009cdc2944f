import { once } from "node:events";
import { MessageChannel, Worker } from "node:worker_threads";
import { words } from "./reader-words.mjs";

/**
 * Threads that read the watched table during training: beside the trained world only, never beside the replay, so that a
 * reader that changed anything would show in the checksum.
 */
export class Readers {
  #threads;
  /** @type {string[]} */
  #problems = [];
  #before;

  /** @param {import("./world.mjs").World} world @param {number} threads */
  constructor(world, threads) {
    this.#threads = Array.from({ length: threads }, (_, i) => this.#start(i));
    this.#before = this.#threads.map(() => 0);
    world.onNewSegments = (variables) => this.#handOut(variables);
    this.#handOut(world.watched.read);
  }

  /** Gathers of all threads: those that gave rows, and the kinds of those that were refused. */
  get counts() {
    const sum = (word) => this.#threads.reduce((all, { control }) => all + Atomics.load(control, word), 0);
    const { reads, gone, later, disposed } = words;
    return { reads: sum(reads), gone: sum(gone), later: sum(later), disposed: sum(disposed) };
  }

  /** What was wrong since the last call: something read or thrown, or a thread that does not get on. */
  problems() {
    const now = this.#threads.map(({ control }) => Atomics.load(control, words.reads));
    const stuck = now.flatMap((reads, i) => (reads > this.#before[i] ? [] : [`reader ${i} reads nothing`]));
    this.#before = now;
    return [...this.#problems.splice(0), ...stuck];
  }

  async stop() {
    for (const { control } of this.#threads) {
      Atomics.store(control, words.stop, 1);
      Atomics.notify(control, words.stop);
    }
    for (const { exit, port, worker } of this.#threads) {
      const timer = setTimeout(() => worker.terminate(), 10_000);
      await exit;
      clearTimeout(timer);
      port.close();
    }
  }

  /** @param {number} i */
  #start(i) {
    const control = new Int32Array(new SharedArrayBuffer(4 * words.length));
    const { port1, port2 } = new MessageChannel();
    const workerData = { control, port: port2, seed: 1 + i };
    const worker = new Worker(new URL("./reader.mjs", import.meta.url), {
      workerData,
      transferList: [port2],
    });
    worker.on("message", (problem) => this.#problems.push(`reader ${i}: ${problem}`));
    worker.on("error", (error) => this.#problems.push(`reader ${i}: ${error.stack}`));
    // The rest of the process must not wait for what nobody sends any more.
    port1.unref();
    return { control, worker, port: port1, exit: once(worker, "exit").catch(() => {}) };
  }

  /** @param {readonly import("@shardgrad/core").Variable[]} variables */
  #handOut(variables) {
    const handles = variables.map((variable) => variable.handle());
    for (const { port } of this.#threads) port.postMessage(handles);
  }
}
