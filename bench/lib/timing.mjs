import { summarize } from "./statistics.mjs";

/** One sample lasts about this long: short steps are timed in batches. */
const SAMPLE_NS = 2e6;
/** A step this slow gives two samples and no more. */
const PATIENCE = 2;

/** @returns {number} nanoseconds, as a double (exact below 2^53, 104 days) */
const now = () => performance.now() * 1e6;

/** A step this short is warmed up for longer at first: compilers look at it several times. */
const SHORT_NS = 1e6;

/**
 * @typedef {object} Budget
 * @property {number} seconds
 * @property {number} [least] the fewest samples
 * @property {number} [warmSeconds] first warm-up of a short step
 *
 * @typedef {import("./statistics.mjs").Summary & { samples: number[] }} Measured all in ns a step
 */

/** @param {number} once @param {number} seconds @param {number} warmSeconds */
const warmTime = (once, seconds, warmSeconds) =>
  1e9 * Math.max(seconds * 0.15, once < SHORT_NS ? warmSeconds : 0);

/**
 * Times a synchronous step: warm-up, then samples until the time is over.
 * @param {() => unknown} step
 * @param {Budget} budget
 * @returns {Measured}
 */
export function measureSync(step, { seconds, least = 5, warmSeconds = 0 }) {
  let once = Number.POSITIVE_INFINITY;
  const start = now();
  do {
    const begin = now();
    step();
    once = Math.min(once, now() - begin);
  } while (now() - start < warmTime(once, seconds, warmSeconds));
  const batch = Math.max(1, Math.floor(SAMPLE_NS / Math.max(once, 50)));
  const samples = [];
  const until = now() + seconds * 1e9;
  while (samples.length < least || now() < until) {
    const begin = now();
    for (let i = 0; i < batch; i++) step();
    samples.push((now() - begin) / batch);
    if (samples.length >= 2 && now() > until + PATIENCE * seconds * 1e9) break;
  }
  return { ...summarize(samples), samples };
}

/**
 * The same for a step that returns a promise; each step is awaited before the next.
 * @param {() => Promise<unknown>} step
 * @param {Budget} budget
 * @returns {Promise<Measured>}
 */
export async function measureAsync(step, { seconds, least = 5, warmSeconds = 0 }) {
  let once = Number.POSITIVE_INFINITY;
  const start = now();
  do {
    const begin = now();
    await step();
    once = Math.min(once, now() - begin);
  } while (now() - start < warmTime(once, seconds, warmSeconds));
  const batch = Math.max(1, Math.floor(SAMPLE_NS / Math.max(once, 50)));
  const samples = [];
  const until = now() + seconds * 1e9;
  while (samples.length < least || now() < until) {
    const begin = now();
    for (let i = 0; i < batch; i++) await step();
    samples.push((now() - begin) / batch);
    if (samples.length >= 2 && now() > until + PATIENCE * seconds * 1e9) break;
  }
  return { ...summarize(samples), samples };
}
