import { Worker } from "node:worker_threads";

/** Larger than the caches of one thread by far, small enough for a laptop. */
const BYTES = 256 * 2 ** 20;

/**
 * Copy bandwidth of this machine, bytes read + bytes written a second, by `TypedArray.set` over arrays of
 * 256 MiB: over plain ArrayBuffers (V8 uses memcpy) and over SharedArrayBuffers (V8 copies word by word);
 * the better one counts as the machine's.
 * @param {number} threads
 * @param {number} seconds for each kind of buffer
 */
export async function copyBandwidth(threads, seconds) {
  const bytes = BYTES / threads;
  let best = 0;
  for (const shared of [false, true]) {
    const flag = new Int32Array(new SharedArrayBuffer(4));
    const workers = Array.from(
      { length: threads },
      () =>
        new Worker(new URL("./bandwidth-worker.mjs", import.meta.url), {
          workerData: { bytes, shared, flag, threads, seconds },
        }),
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
    best = Math.max(
      best,
      rates.reduce((sum, rate) => sum + rate, 0),
    );
  }
  return best;
}
