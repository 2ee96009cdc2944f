/** The ratios to reach (issue 2, section 8), at 2 threads: peer's time ÷ Shardgrad's time. */
import { significant, table } from "./table.mjs";

/** @typedef {import("./report.mjs").Report} Report */
/** @typedef {import("./contest.mjs").Result} Result */

const DENSE = ["dense-4194304", "dense-33554432"];
const SPARSE = ["sparse-64-unique", "sparse-64-zipf", "sparse-16-unique", "sparse-16-zipf"];

/**
 * @typedef {object} Target
 * @property {string} work
 * @property {string} against
 * @property {string[]} sections all of them have to reach it
 * @property {RegExp} peer
 * @property {number} atLeast
 * @property {boolean} [sync] decided by the synchronous step; otherwise by the asynchronous one
 * @property {boolean} [best] against the peer's best number of threads, not 2
 */

/** @type {Target[]} */
const TARGETS = [
  {
    work: "dense, 33 M",
    against: "PyTorch fused",
    sections: [DENSE[1]],
    peer: /^PyTorch fused$/,
    atLeast: 1,
  },
  {
    work: "dense, 4 M",
    against: "PyTorch fused",
    sections: [DENSE[0]],
    peer: /^PyTorch fused$/,
    atLeast: 0.65,
  },
  { work: "dense", against: "PyTorch foreach", sections: DENSE, peer: /^PyTorch foreach$/, atLeast: 3 },
  {
    work: "dense",
    against: "PyTorch foreach, memory kept",
    sections: DENSE,
    peer: /^PyTorch foreach, memory kept/,
    atLeast: 3,
  },
  {
    work: "dense",
    against: "Keras (its faster way)",
    sections: DENSE,
    peer: /^Keras (eager|function)/,
    atLeast: 3,
  },
  {
    work: "dense",
    against: "tfjs (its faster way)",
    sections: DENSE,
    peer: /^tfjs/,
    atLeast: 10,
    best: true,
  },
  {
    work: "dense + EMA, 33 M",
    against: "PyTorch fused + EMA",
    sections: ["ema-33554432"],
    peer: /^PyTorch fused \+ EMA$/,
    atLeast: 1.5,
  },
  ...SPARSE.flatMap((id) => [
    { work: id, against: "PyTorch sparse", sections: [id], peer: /^PyTorch sparse$/, atLeast: 5 },
    {
      work: id,
      against: "PyTorch sparse, memory kept",
      sections: [id],
      peer: /^PyTorch sparse, memory kept/,
      atLeast: 5,
    },
  ]),
  {
    work: "64 elements, one step",
    against: "PyTorch fused (best threads)",
    sections: ["single-64"],
    peer: /^PyTorch fused$/,
    atLeast: 2,
    sync: true,
    best: true,
  },
];

/** Worst allowed event-loop delay, p99 above the idle timer's own. */
export const EVENT_LOOP_LIMIT_MS = 5;

/**
 * @param {readonly Result[]} results
 * @param {Target} target
 * @returns {{ sync: number, async: number, peer: number } | undefined}
 */
function ratios(results, { peer, best }) {
  const median = (/** @type {Result[]} */ of) =>
    of.reduce((least, result) => Math.min(least, result.median ?? Infinity), Infinity);
  const rivals = results.filter(({ who, threads }) => peer.test(who) && (best || threads === 2));
  const theirs = median(rivals);
  if (!Number.isFinite(theirs)) return undefined;
  const own = (/** @type {string} */ mode) => {
    const modes = results.filter((result) => result.who === "Shardgrad" && result.mode === mode);
    const two = modes.filter(({ threads }) => threads === 2);
    return theirs / median(two.length > 0 ? two : modes);
  };
  return { sync: own("sync"), async: own("async"), peer: theirs };
}

/**
 * Prints which ratios were reached and returns them.
 * @param {Report} report
 */
export function verdicts(report) {
  const rows = [];
  const records = [];
  for (const target of TARGETS) {
    const measured = target.sections
      .map((id) => report.find(id))
      .map((section) => section && ratios(section.results, target))
      .filter((ratio) => ratio !== undefined);
    if (measured.length === 0) continue;
    const least = (/** @type {"sync" | "async"} */ mode) => Math.min(...measured.map((ratio) => ratio[mode]));
    const decisive = target.sync ? least("sync") : least("async");
    const reached = decisive >= target.atLeast;
    rows.push([
      target.work,
      target.against,
      `${target.atLeast}×`,
      target.sync ? "" : `${significant(least("async"))}×`,
      `${significant(least("sync"))}×`,
      reached ? "reached" : "MISSED",
    ]);
    const { work, against, atLeast } = target;
    records.push({ work, against, atLeast, sync: least("sync"), async: least("async"), reached });
  }
  const delay = /** @type {{ worst?: number } | undefined} */ (report.extra.eventLoop)?.worst;
  if (delay !== undefined) {
    const reached = delay < EVENT_LOOP_LIMIT_MS;
    const limit = `<${EVENT_LOOP_LIMIT_MS} ms`;
    rows.push([
      "event-loop delay p99, worst",
      "",
      limit,
      `${significant(delay)} ms`,
      "",
      reached ? "reached" : "MISSED",
    ]);
    records.push({ work: "event-loop delay p99", limitMs: EVENT_LOOP_LIMIT_MS, worstMs: delay, reached });
  }
  if (rows.length === 0) return records;
  console.log(
    "\nTo reach: the peer's time ÷ Shardgrad's, both at 2 threads in this run; the least of the sizes",
  );
  console.log(
    "(4 M and 33 M) where a line names none. Decided by the asynchronous step, unless it has none.",
  );
  const columns = [
    { title: "work", width: 27, left: true },
    { title: "against", width: 29, left: true },
    { title: "target", width: 6 },
    { title: "async", width: 8 },
    { title: "sync", width: 8 },
    { title: "", width: 7, left: true },
  ];
  console.log(table(columns, rows));
  return records;
}
