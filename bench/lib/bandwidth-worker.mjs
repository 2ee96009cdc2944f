/** One thread of bandwidth.mjs: waits for the others, copies until the time is over, reports its rate. */
import { parentPort, workerData } from "node:worker_threads";
import { summarize } from "./statistics.mjs";

const { bytes, arrived, threads, seconds } = workerData;
const source = new Float64Array(bytes / 8).fill(1);
const target = new Float64Array(bytes / 8).fill(2);

Atomics.add(arrived, 0, 1);
Atomics.notify(arrived, 0);
for (let count = Atomics.load(arrived, 0); count < threads; count = Atomics.load(arrived, 0)) {
  Atomics.wait(arrived, 0, count, 100);
}

const rates = [];
const end = performance.now() + seconds * 1000;
do {
  const begin = performance.now();
  target.set(source);
  rates.push((2 * bytes) / ((performance.now() - begin) / 1000));
} while (performance.now() < end);
parentPort?.postMessage(summarize(rates).median);
