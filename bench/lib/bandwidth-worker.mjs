/** One thread of bandwidth.mjs: waits for the others, copies until the time is over, reports its rate. */
import { parentPort, workerData } from "node:worker_threads";
import { summarize } from "./statistics.mjs";

const { bytes, shared, flag, threads, seconds } = workerData;
const Buffer = shared ? SharedArrayBuffer : ArrayBuffer;
const source = new Float64Array(new Buffer(bytes)).fill(1);
const target = new Float64Array(new Buffer(bytes)).fill(2);

Atomics.add(flag, 0, 1);
Atomics.notify(flag, 0);
for (let arrived = Atomics.load(flag, 0); arrived < threads; arrived = Atomics.load(flag, 0)) {
  Atomics.wait(flag, 0, arrived, 100);
}

const rates = [];
const end = performance.now() + seconds * 1000;
do {
  const begin = performance.now();
  target.set(source);
  rates.push((2 * bytes) / ((performance.now() - begin) / 1000));
} while (performance.now() < end);
parentPort?.postMessage(summarize(rates).median);
