/** Prints the sections of the table cases: rows a second a core, and the rate by a model of bytes. */
import { count, duration, significant, table } from "./table.mjs";

/** @typedef {import("./contest.mjs").Result} Result */
/** @typedef {import("./yardstick.mjs").RowRates} RowRates */

/**
 * @typedef {object} TableResult
 * @property {Result} result
 * @property {number} bytes of one step, by the model
 * @property {boolean} [yardstick] no step of an optimizer
 *
 * @typedef {object} TableSection
 * @property {string} title
 * @property {number} units slices of one step
 * @property {TableResult[]} entries
 * @property {Record<1 | 2, RowRates> | undefined} [yardstick]
 */

const COLUMNS = /** @type {const} */ ([
  { title: "who", width: 34, left: true },
  { title: "threads", width: 7 },
  { title: "mode", width: 5, left: true },
  { title: "ns a slice", width: 10 },
  { title: "step", width: 8 },
  { title: "p10 – p90", width: 19 },
  { title: "M/s a core", width: 10 },
  { title: "GB/s", width: 6 },
  { title: "of random copy", width: 14 },
  { title: "time ÷ ours", width: 11 },
]);

const cores = (/** @type {Result} */ { threads }) => Math.max(threads, 1);

/**
 * Million slices a second, for each thread that computes.
 * @param {Result} result
 * @param {number} units
 */
export const millionsPerCore = (result, units) =>
  (units / (result.median ?? Number.NaN) / cores(result)) * 1e3;

/** @param {TableSection} section */
export function printTable({ title, units, entries, yardstick }) {
  console.log(`\n${title}`);
  const results = entries.map(({ result }) => result);
  const rows = entries.map(({ result, bytes, yardstick: other }) => {
    const { who, threads, mode, error, median, p10, p90 } = result;
    const head = [who, threads === 0 ? "inline" : threads, mode];
    if (error !== undefined || median === undefined) return [...head, "–", ...["", "", "", "", ""], error];
    const rate = bytes / (median / 1e9);
    const copy = yardstick?.[threads >= 2 ? 2 : 1].copy;
    const rival = other || who.startsWith("Shardgrad") ? undefined : ownSync(results, result);
    return [
      ...head,
      significant(median / units),
      duration(median),
      `${duration(p10 ?? Number.NaN)} – ${duration(p90 ?? Number.NaN)}`,
      significant(millionsPerCore(result, units)),
      significant(rate / 1e9),
      copy ? `${((100 * rate) / copy).toFixed(0)} %` : "",
      rival?.median ? `${significant(median / rival.median)}×` : "",
    ];
  });
  console.log(table(COLUMNS, rows));
}

/**
 * Our blocking step with as many threads as a peer's: the peers block too.
 * @param {readonly Result[]} results
 * @param {Result} peer
 * @param {string} [who]
 */
export function ownSync(results, peer, who = "Shardgrad") {
  const own = results.filter((result) => result.who === who && result.mode === "sync");
  return own.find((result) => cores(result) === cores(peer));
}

/**
 * How many times faster two threads are than one.
 * @param {readonly Result[]} results
 * @param {string} who
 * @returns {{ async: number, sync: number }} the synchronous step against the inline one
 */
export function scaling(results, who) {
  const median = (/** @type {number} */ threads, /** @type {string} */ mode) =>
    results.find((result) => result.who === who && result.threads === threads && result.mode === mode)
      ?.median ?? Number.NaN;
  return { async: median(1, "async") / median(2, "async"), sync: median(0, "sync") / median(2, "sync") };
}

/**
 * @param {Record<1 | 2, RowRates>} rates
 * @returns {string}
 */
export function yardstickLine(rates) {
  const each = (/** @type {keyof RowRates} */ key) =>
    `${significant(rates[1][key] / 1e9)} GB/s with 1 thread, ${significant(rates[2][key] / 1e9)} with 2`;
  return (
    `Random rows by a C program, bytes read + written: copied ${each("copy")};\n` +
    `  changed in place ${each("change")}; changed in two tables ${each("changeBoth")}`
  );
}

/** @param {number} value */
export const rowCount = (value) => (value >= 1e6 ? `${significantMillions(value)} M` : count(value));
const significantMillions = (/** @type {number} */ value) => Number((value / 1e6).toPrecision(3));
