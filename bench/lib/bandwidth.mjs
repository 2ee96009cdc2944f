import { Worker } from "node:worker_threads";

/** Source and target together: larger than the caches of one thread by far, small enough for a laptop. */
const BYTES = 256 * 2 ** 20;

/**
 * Copy bandwidth of this machine, bytes read + bytes written a second, by `TypedArray.set` over arrays of
 * 128 MiB in all threads together. Over SharedArrayBuffers V8 copies at the same rate.
 * @param {number} threads
 * @param {number} seconds
 */
export async function copyBandwidth(threads, seconds) {
  const arrived = new Int32Array(new SharedArrayBuffer(4));
  const workerData = { bytes: BYTES / 2 / threads, arrived, threads, seconds };
  const workers = Array.from(
    { length: threads },
    () => new Worker(new URL("./bandwidth-worker.mjs", import.meta.url), { workerData }),
  );
  const rates = await Promise.all(
    workers.map(
      (worker) =>
        new Promise((resolve, reject) => {
          worker.once("message", resolve);
          worker.once("error", reject);
        }),
    ),
  );
  await Promise.all(workers.map((worker) => worker.terminate()));
  return rates.reduce((sum, rate) => sum + rate, 0);
}
