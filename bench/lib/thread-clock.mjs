import { createRequire } from "node:module";

/** Numbers of CLOCK_THREAD_CPUTIME_ID. */
const clocks = { linux: 3, darwin: 16 };

/**
 * Nanoseconds that the calling thread has computed: what others do on the same processor does not count. Needs koffi.
 * @returns {() => number}
 */
export function threadClock() {
  const clock = clocks[/** @type {keyof typeof clocks} */ (process.platform)];
  if (clock === undefined) throw new Error(`No clock of a thread is known for ${process.platform}.`);
  const read = createRequire(import.meta.url)("koffi")
    .load(null)
    .func("clock_gettime", "int", ["int", "void *"]);
  const time = new BigInt64Array(2);
  return () => {
    read(clock, time);
    return Number(time[0]) * 1e9 + Number(time[1]);
  };
}
