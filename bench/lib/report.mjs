/** Prints the tables and keeps every figure for --json and the verdicts. */
import { count, duration, significant, table } from "./table.mjs";

/** @typedef {import("./contest.mjs").Result} Result */
/** @typedef {import("./bytes.mjs").Traffic} Traffic */

/**
 * @typedef {object} Section
 * @property {string} id such as "dense-33554432"
 * @property {string} title
 * @property {"element" | "slice"} unit
 * @property {number} units of one step
 * @property {Traffic} traffic
 * @property {Result[]} results
 */

const COLUMNS = /** @type {const} */ ([
  { title: "who", width: 36, left: true },
  { title: "threads", width: 7 },
  { title: "mode", width: 5, left: true },
  { title: "ns a unit", width: 9 },
  { title: "step", width: 8 },
  { title: "p10 – p90", width: 19 },
  { title: "GB/s", width: 6 },
  { title: "of copy", width: 7 },
  { title: "time ÷ ours", width: 11 },
]);

export class Report {
  /** @type {Section[]} */
  sections = [];
  /** @type {Record<string, unknown>} */
  extra = {};
  /** @param {{ 1: number, 2: number }} bandwidth bytes a second with 1 and 2 threads */
  constructor(bandwidth) {
    this.bandwidth = bandwidth;
  }

  /** @param {Section} section */
  add(section) {
    this.sections.push(section);
    const { title, unit, units, traffic, results } = section;
    console.log(`\n${title}: ${count(units)} ${unit}s a step, ${traffic.model}`);
    const rows = results.map((result) => {
      const { who, threads, mode, error, median, p10, p90 } = result;
      const head = [who, threads === 0 ? "inline" : threads, mode];
      if (error !== undefined || median === undefined) return [...head, "–", ...["", ""], "", "", error];
      const rate = traffic.bytes / (median / 1e9);
      const copy = this.bandwidth[threads >= 2 ? 2 : 1];
      const rival = who.startsWith("Shardgrad") ? undefined : rivalOf(results, result);
      return [
        ...head,
        significant(median / units),
        duration(median),
        `${duration(p10 ?? Number.NaN)} – ${duration(p90 ?? Number.NaN)}`,
        significant(rate / 1e9),
        `${((100 * rate) / copy).toFixed(0)} %`,
        rival?.median ? `${significant(median / rival.median)}×` : "",
      ];
    });
    console.log(table(COLUMNS, rows));
  }

  /** The versions of the peers that were measured. */
  get versions() {
    const seen = new Map();
    for (const { results } of this.sections) {
      for (const { who, version } of results) if (version) seen.set(who.split(" ")[0], version);
    }
    return Object.fromEntries(seen);
  }

  /** @param {string} id */
  find(id) {
    return this.sections.find((section) => section.id === id);
  }
}

/**
 * Whom a peer is compared with in the table: Shardgrad's synchronous step with as many threads, since the
 * peers' calls block as well.
 * @param {readonly Result[]} results
 * @param {Result} peer
 */
function rivalOf(results, peer) {
  const own = results.filter(({ who, mode }) => who === "Shardgrad" && mode === "sync");
  return own.find(({ threads }) => threads === peer.threads) ?? own.at(-1);
}
