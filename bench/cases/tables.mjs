/** Sparse steps on large tables that name other rows each time, with both kinds of accumulators. */
import { tableTraffic } from "../lib/bytes.mjs";
import { ZIPF_EXPONENT } from "../lib/hyper.mjs";
import { changingLists, LISTS, listsRequest } from "../lib/lists.mjs";
import { canPlay, play, tableBytes } from "../lib/players.mjs";
import { ours } from "../lib/shardgrad.mjs";
import { count, significant } from "../lib/table.mjs";
import { millionsPerCore, printTable, rowCount, scaling, yardstickLine } from "../lib/table-report.mjs";
import { Table } from "../lib/tables.mjs";
import { rowRates } from "../lib/yardstick.mjs";
import { theirs } from "./context.mjs";

/** @typedef {import("./context.mjs").Context} Context */
/** @typedef {import("./context.mjs").Contestant} Contestant */
/** @typedef {import("../lib/lists.mjs").Lists} Lists */
/** @typedef {import("../lib/contest.mjs").Result} Result */

const TABLES = [
  { rows: 1_000_000, dim: 64 },
  { rows: 4_000_000, dim: 16 },
  { rows: 10_000_000, dim: 64 },
];
const SLICES = [16_384, 65_536];
const KINDS = /** @type {const} */ (["unique", "zipf"]);
const ACCUMULATORS = /** @type {const} */ (["elementwise", "rowwise"]);
/** A yardstick beside the C program's: each row read from a random place and written to the next one. */
const COPY = "PyTorch index_select";
const NAMES = { elementwise: "Shardgrad", rowwise: "Shardgrad, row-wise" };

/** Million rows a second a core that an elementwise step over unique rows has to reach. */
const LEAST_MILLIONS = 8;
const AT_DIM = 64;

/** @typedef {import("../lib/players.mjs").Player} Player */
/** @param {Context} context */
export async function tables(context) {
  const { quick } = context.options;
  /** @type {object[]} */
  const records = [];
  for (const size of quick ? TABLES.slice(0, 2) : TABLES) {
    records.push(...(await measure(context, size, quick ? SLICES.slice(0, 1) : SLICES)));
  }
  context.report.extra.tables = records;
}

/**
 * @param {Context} context
 * @param {{ rows: number, dim: number }} size
 * @param {readonly number[]} batches
 */
async function measure(context, { rows, dim }, batches) {
  const players = [...[0, 1, 2].map((threads) => own(rows, dim, threads)), ...rivals(context, rows, dim)];
  if (!canPlay(players)) {
    console.log(`\nTable, ${rowCount(rows)} × ${dim}: skipped, too little free memory`);
    return [];
  }
  const lists = batches.flatMap((slices) => KINDS.map((kind) => changingLists({ rows, dim, slices, kind })));
  const yardsticks = lists.map((list) => yardstick(context, list));
  const { results, together } = await play(players, lists, context.options);
  return lists.map((list, i) => report(list, results[i], yardsticks[i], together));
}

/**
 * @param {number} rows
 * @param {number} dim
 * @param {number} threads
 * @returns {Player}
 */
function own(rows, dim, threads) {
  /** @type {Table | undefined} */
  let table;
  return {
    bytes: tableBytes({ rows, dim, tables: 2, vectors: 1 }), // the row-wise accumulator is a vector
    async open() {
      const opened = new Table({ rows, dim, threads });
      table = opened;
      await opened.ready();
      const stepping = ACCUMULATORS.map((accumulator) => opened.optimizing({ accumulator }));
      return (lists) =>
        ACCUMULATORS.flatMap((accumulator, i) => {
          const fixture = stepping[i](lists);
          /** @type {("sync" | "async")[]} */
          const modes = threads === 0 ? ["sync"] : threads === 1 ? ["async"] : ["sync", "async"];
          return modes.map((mode) => ({ ...ours(fixture, { threads, mode }), who: NAMES[accumulator] }));
        });
    },
    async close() {
      await table?.close();
      table = undefined;
    },
  };
}

/**
 * PyTorch's steps, and on one thread its copy of rows. Each has a process of its own: one that changes its case would
 * build its table anew.
 * @param {Context} context
 * @param {number} rows
 * @param {number} dim
 * @returns {Player[]}
 */
function rivals(context, rows, dim) {
  if (!context.peers.has("pytorch")) return [];
  const variants = [
    { who: "PyTorch sparse", variant: "sparse", threads: 1 },
    { who: "PyTorch sparse", variant: "sparse", threads: 2 },
    ...(context.options.quick
      ? []
      : [
          { who: "PyTorch sparse", variant: "sparse", threads: 2, keepMemory: true },
          { who: COPY, variant: "gather", threads: 1, keepMemory: true },
        ]),
  ];
  return variants.map(({ who, variant, threads, keepMemory = false }) => ({
    bytes: tableBytes({ rows, dim, tables: variant === "gather" ? 1 : 2 }),
    open: async () => (lists) => {
      if (variant === "gather" && lists.kind !== "unique") return [];
      const request = { case: "table", variant, ...listsRequest(lists) };
      return theirs(context, "pytorch", who, request, { threads: [threads], keepMemory });
    },
    close: () => context.peers.drop(),
  }));
}

/**
 * @param {Context} context
 * @param {Lists} lists
 */
function yardstick({ options }, lists) {
  if (lists.kind !== "unique") return undefined;
  const [one, two] = [1, 2].map((threads) => rowRates({ ...lists, lists: LISTS }, threads, options.seconds));
  return one && two && { 1: one, 2: two };
}

/**
 * Prints one section and returns it for --json.
 * @param {Lists} lists
 * @param {Result[]} results
 * @param {Record<1 | 2, import("../lib/yardstick.mjs").RowRates> | undefined} yardsticks
 * @param {boolean} together
 */
function report(lists, results, yardsticks, together) {
  const { rows, dim, slices, kind, distinct } = lists;
  const entries = results.map((result) => {
    if (result.who.startsWith(COPY)) return { result, bytes: slices * 8 * dim, yardstick: true };
    const rowwise = result.who === NAMES.rowwise;
    return { result, bytes: tableTraffic(slices, distinct, dim, rowwise ? "rowwise" : "elementwise") };
  });
  const how =
    kind === "unique"
      ? "unique random rows"
      : `Zipf ${ZIPF_EXPONENT}, ${count(Math.round(distinct))} distinct rows`;
  const title =
    `Table, ${rowCount(rows)} × ${dim}, ${count(slices)} slices, ${how}, ${LISTS} lists in turn` +
    (together ? "" : "; one contestant after the other, for want of memory");
  printTable({ title, units: slices, entries, yardstick: yardsticks });
  if (yardsticks) console.log(yardstickLine(yardsticks));
  const scale = Object.fromEntries(Object.values(NAMES).map((who) => [who, scaling(results, who)]));
  for (const [who, { async, sync }] of Object.entries(scale)) {
    console.log(`${who}, 1 → 2 threads: async ${significant(async)}×, sync ${significant(sync)}×`);
  }
  const inline = results.find(({ who, threads }) => who === NAMES.elementwise && threads === 0);
  const millions = inline ? millionsPerCore(inline, slices) : Number.NaN;
  if (dim === AT_DIM && kind === "unique") {
    const reached = millions >= LEAST_MILLIONS ? "reached" : "MISSED";
    console.log(`To reach: ${LEAST_MILLIONS} M rows/s a core, inline: ${significant(millions)}, ${reached}`);
  }
  const { indices: _indices, indexFile: _indexFile, ...shape } = lists;
  return { ...shape, entries, yardsticks, scale, together };
}
