import { setTimeout } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

const MIB = 2 ** 20;

/**
 * What each measure may have more at the end than after warming up: shared memory is kept to the byte from then on;
 * heap and resident memory also hold compiled code and what the allocators keep.
 */
const allowance = {
  shared: { share: 0, bytes: 0 },
  heap: { share: 0.1, bytes: 4 * MIB },
  rss: { share: 0.1, bytes: 48 * MIB },
};

/** Bytes held now, after collections. @param {readonly import("@shardgrad/core").Runtime[]} runtimes */
export async function memoryNow(runtimes) {
  // Array buffers are given back in the background, after the collection that found them.
  for (let i = 0; i < 3; i++) {
    collect();
    await setTimeout(5);
  }
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  const shared = runtimes.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  return { shared, heap: heapUsed + arrayBuffers, rss };
}

/**
 * @typedef {Awaited<ReturnType<typeof memoryNow>>} Memory
 *
 * What has leaked, as text; empty when nothing has.
 * @param {Memory} warm @param {Memory} now
 */
export function leaks(warm, now) {
  return Object.entries(allowance)
    .filter(([name, { share, bytes }]) => now[name] > warm[name] * (1 + share) + bytes)
    .map(([name]) => `${name} memory went from ${mib(warm[name])} to ${mib(now[name])}`);
}

/** @param {number} bytes */
export const mib = (bytes) => `${(bytes / MIB).toFixed(1)} MiB`;
