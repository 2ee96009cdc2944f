/** Sparse steps with a moving average of the table: kept eagerly, lazily, and PyTorch's. */
import { changingLists, LISTS, listsRequest } from "../lib/lists.mjs";
import { canPlay, play, tableBytes } from "../lib/players.mjs";
import { ours } from "../lib/shardgrad.mjs";
import { count, duration, significant, table } from "../lib/table.mjs";
import { rowCount } from "../lib/table-report.mjs";
import { hasLazyAverages, Table } from "../lib/tables.mjs";
import { theirs } from "./context.mjs";

/** @typedef {import("./context.mjs").Context} Context */
/** @typedef {import("../lib/contest.mjs").Result} Result */
/** @typedef {import("../lib/players.mjs").Player} Player */

const ROWS = [100_000, 1_000_000, 10_000_000];
const DIM = 64;
const SLICES = 16_384;
/** By so much a lazy step may differ between the sizes: it costs the batch, not the table. */
const FLAT_WITHIN = 2;

/** @typedef {"eager" | "lazy"} Ema */

/** @param {Context} context */
export async function tableema(context) {
  const modes = /** @type {Ema[]} */ (hasLazyAverages() ? ["eager", "lazy"] : ["eager"]);
  if (modes.length === 1) {
    console.log('\nTables with averages: this version has no `sparseEma: "lazy"`; the eager mode alone.');
  }
  const records = [];
  for (const rows of context.options.quick ? ROWS.slice(0, 2) : ROWS) {
    const results = await measure(context, rows, modes);
    if (results) records.push({ rows, dim: DIM, slices: SLICES, results });
  }
  context.report.extra.tableEma = { records, flat: modes.includes("lazy") ? flatness(records) : undefined };
}

/**
 * @param {Context} context
 * @param {number} rows
 * @param {readonly Ema[]} modes
 */
async function measure(context, rows, modes) {
  const players = [
    ...[0, 2].flatMap((threads) => modes.map((mode) => own(rows, threads, mode))),
    ...[1, 2].map((threads) => rival(context, rows, threads)),
  ];
  if (!canPlay(players)) {
    console.log(`\nTable with averages, ${rowCount(rows)} × ${DIM}: skipped, too little free memory`);
    return undefined;
  }
  const lists = changingLists({ rows, dim: DIM, slices: SLICES, kind: "unique" });
  const { results, together } = await play(players, [lists], context.options);
  report(rows, results[0], together);
  return results[0];
}

const nameOf = (/** @type {Ema} */ mode) => `Shardgrad, ${mode}`;

/**
 * @param {number} rows
 * @param {number} threads
 * @param {Ema} ema
 * @returns {Player}
 */
function own(rows, threads, ema) {
  /** @type {Table | undefined} */
  let opened;
  return {
    // Weights, accumulator, average, and for lazy ones the step of each row.
    bytes: tableBytes({ rows, dim: DIM, tables: 3, vectors: 1 }),
    async open() {
      const held = new Table({ rows, dim: DIM, threads });
      opened = held;
      await held.ready();
      const stepping = held.optimizing({ ema });
      /** @type {("sync" | "async")[]} */
      const modes = threads === 0 ? ["sync"] : ["sync", "async"];
      return (lists) => {
        const fixture = stepping(lists);
        return modes.map((mode) => ({ ...ours(fixture, { threads, mode }), who: nameOf(ema) }));
      };
    },
    async close() {
      await opened?.close();
      opened = undefined;
    },
  };
}

/**
 * @param {Context} context
 * @param {number} rows
 * @param {number} threads
 * @returns {Player}
 */
function rival(context, rows, threads) {
  return {
    bytes: context.peers.has("pytorch") ? tableBytes({ rows, dim: DIM, tables: 3 }) : 0,
    open: async () => (lists) => {
      const request = { case: "table", variant: "ema", ...listsRequest(lists) };
      return theirs(context, "pytorch", "PyTorch sparse + EMA", request, { threads: [threads] });
    },
    close: () => context.peers.drop(),
  };
}

const COLUMNS = /** @type {const} */ ([
  { title: "who", width: 28, left: true },
  { title: "threads", width: 7 },
  { title: "mode", width: 5, left: true },
  { title: "step", width: 8 },
  { title: "p10 – p90", width: 19 },
  { title: "ns a slice", width: 10 },
  { title: "eager ÷ it", width: 10 },
  { title: "PyTorch ÷ it", width: 12 },
]);

/**
 * @param {number} rows
 * @param {readonly Result[]} results
 * @param {boolean} together
 */
function report(rows, results, together) {
  console.log(
    `\nTable with averages, ${rowCount(rows)} × ${DIM}, ${count(SLICES)} unique slices, ${LISTS} lists in turn` +
      (together ? "" : "; one contestant after the other, for want of memory"),
  );
  const lines = results.map((result) => {
    const { who, threads, mode, error, median, p10, p90 } = result;
    const head = [who, threads === 0 ? "inline" : threads, mode];
    if (error !== undefined || median === undefined) return [...head, "–", "", "", "", "", error];
    const eager = results.find(
      (other) => other.who === nameOf("eager") && other.threads === threads && other.mode === mode,
    );
    const peer = results.find(
      (other) => other.who.startsWith("PyTorch") && other.threads === Math.max(threads, 1),
    );
    const times = (/** @type {Result | undefined} */ other) =>
      other?.median && other !== result ? `${significant(other.median / median)}×` : "";
    const spread = `${duration(p10 ?? Number.NaN)} – ${duration(p90 ?? Number.NaN)}`;
    const own = who.startsWith("Shardgrad");
    return [
      ...[...head, duration(median), spread, significant(median / SLICES)],
      ...(own ? [times(eager), times(peer)] : []),
    ];
  });
  console.log(table(COLUMNS, lines));
}

/**
 * Whether a lazy step takes the same time for all numbers of rows.
 * @param {readonly { rows: number, results: Result[] }[]} records
 */
function flatness(records) {
  return [0, 2].map((threads) => {
    const steps = records.map(({ results }) => {
      const lazy = results.find((result) => result.who === nameOf("lazy") && result.threads === threads);
      return lazy?.median ?? Number.NaN;
    });
    const ratio = Math.max(...steps) / Math.min(...steps);
    const reached = ratio <= FLAT_WITHIN;
    const sizes = records.map(({ rows }) => rowCount(rows)).join(", ");
    console.log(
      `To reach: a lazy step is flat within ${FLAT_WITHIN}× over ${sizes} rows, ` +
        `${threads === 0 ? "inline" : `${threads} threads`}: ${significant(ratio)}×, ${reached ? "reached" : "MISSED"}`,
    );
    return { threads, ratio, reached };
  });
}
