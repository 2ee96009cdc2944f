/** Sparse steps on two tables, with unique rows and with duplicates. */
import { sparseTraffic } from "../lib/bytes.mjs";
import { contest } from "../lib/contest.mjs";
import { ZIPF_EXPONENT } from "../lib/hyper.mjs";
import { shareIndices } from "../lib/indices.mjs";
import { hasMemory } from "../lib/machine.mjs";
import { uniqueRows, zipfRows } from "../lib/random.mjs";
import { ours, runtimeOf, sparseFixture } from "../lib/shardgrad.mjs";
import { count } from "../lib/table.mjs";
import { theirs } from "./context.mjs";

const TABLES = [
  { rows: 1_000_000, dim: 64, slices: 16_384 },
  { rows: 4_000_000, dim: 16, slices: 65_536 },
];

/** @param {import("./context.mjs").Context} context */
export async function sparse(context) {
  for (const table of TABLES) {
    for (const kind of /** @type {const} */ (["unique", "zipf"])) await measure(context, table, kind);
  }
}

/**
 * @param {import("./context.mjs").Context} context
 * @param {(typeof TABLES)[number]} table
 * @param {"unique" | "zipf"} kind
 */
async function measure(context, { rows, dim, slices }, kind) {
  const size = `${count(rows)} × ${dim}`;
  // Table and accumulator in each of three runtimes; the peers hold about as many.
  if (!hasMemory(rows * dim * 4 * 2 * 3 * 2)) {
    console.log(`\nSparse, ${size}: skipped, too little free memory`);
    return;
  }
  const indices = kind === "unique" ? uniqueRows(rows, slices, 7) : zipfRows(rows, slices, ZIPF_EXPONENT, 7);
  const distinct = new Set(indices).size;
  const fixtures = [];
  const contestants = [];
  for (const threads of [0, 1, 2]) {
    const fixture = sparseFixture({ runtime: await runtimeOf(threads), rows, dim, indices });
    fixtures.push(fixture);
    contestants.push(ours(fixture, { threads, mode: "sync" }));
    if (threads > 0) contestants.push(ours(fixture, { threads, mode: "async" }));
  }
  const indexFile = shareIndices(`${dim}-${kind}`, indices);
  const request = (/** @type {string} */ variant) => ({
    case: "sparse",
    variant,
    ...{ rows, dim, slices, indexFile },
    elements: slices * dim,
  });
  const { quick } = context.options;
  const two = { threads: [2] };
  const all = { threads: quick ? [2] : [1, 2] };
  contestants.push(...theirs(context, "pytorch", "PyTorch sparse", request("sparse"), all));
  if (!quick) {
    const kept = { ...two, keepMemory: true };
    contestants.push(...theirs(context, "pytorch", "PyTorch sparse", request("sparse"), kept));
    contestants.push(...theirs(context, "keras", "Keras function", request("function"), two));
    // The kernel has no way to add up the slices of a row first: only for rows that come once.
    if (kind === "unique") {
      contestants.push(...theirs(context, "keras", "TensorFlow kernel", request("kernel"), two));
    }
  }
  const results = await contest(contestants, context.options);
  for (const fixture of fixtures) fixture.close();
  await context.peers.drop();
  const how = kind === "unique" ? "unique rows" : `Zipf ${ZIPF_EXPONENT}, ${count(distinct)} distinct rows`;
  context.report.add({
    id: `sparse-${dim}-${kind}`,
    title: `Sparse, ${size}, ${how}`,
    unit: "slice",
    units: slices,
    traffic: sparseTraffic(slices, distinct, dim),
    results,
  });
}
