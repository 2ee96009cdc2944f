import { HashedIds, IdMap } from "@shardgrad/core";

// What turning ids into rows costs: `node bench/ids.mjs`. Million ids for each second of processor time of this thread,
// the median of several runs; lists of 65,536 ids. Takes about 2 GB for the map of 10 M rows.

const LIST = 65_536;
const RUNS = 5;

/** Million ids a second of processor time: user and system of this process, whose other threads sleep. */
function rate(ids, work) {
  const rates = Array.from({ length: RUNS }, (_, run) => {
    const before = process.cpuUsage();
    work(run);
    const { user, system } = process.cpuUsage(before);
    return ids / (user + system);
  });
  return rates.sort((a, b) => a - b)[RUNS >> 1].toPrecision(2);
}

function each(lists, work) {
  for (const ids of lists) work(ids);
}

const below = (most) => Math.floor(Math.random() * most);
const list = (make) => Array.from({ length: LIST }, make);
const idOf = (i) => BigInt(i) * 7_919n + 1_000_000_007n;
const lines = [];
const tell = (work, figure) => lines.push({ work, "million ids / s": figure });

const hashed = new HashedIds({ buckets: 1_000_000, seed: 1 });
const out = new Uint32Array(LIST);
const bigints = list(() => idOf(below(1e9)));
for (const [name, ids] of Object.entries({
  BigInt64Array: BigInt64Array.from(bigints),
  Int32Array: Int32Array.from(list(() => below(2 ** 31))),
  "array of numbers": list(() => below(2 ** 40)),
  "array of bigints": bigints,
  "strings of 14 characters": list(() => String(below(1e9)).padStart(14, "user-")),
  "strings of 65 characters": list(() => String(below(1e9)).padStart(65, "https://example.org/")),
})) {
  tell(
    `HashedIds.rows, ${name}`,
    rate(20 * LIST, () => {
      for (let i = 0; i < 20; i++) hashed.rows(ids, out);
    }),
  );
}

for (const rows of [1_000_000, 10_000_000]) {
  const lists = Array.from({ length: Math.floor(rows / LIST) }, (_, part) =>
    BigInt64Array.from({ length: LIST }, (_, i) => idOf(part * LIST + i)),
  );
  let map = new IdMap({ rows });
  const fresh = rate(lists.length * LIST, () => {
    map = new IdMap({ rows });
    for (const ids of lists) map.admit(ids, 0);
  });
  const known = Array.from({ length: 20 }, () =>
    BigInt64Array.from({ length: LIST }, () => idOf(below(lists.length * LIST))),
  );
  const name = `${rows / 1e6} M rows`;
  tell(
    `IdMap.lookup, ${name}, random known ids`,
    rate(20 * LIST, () => each(known, (ids) => map.lookup(ids))),
  );
  tell(
    `IdMap.admit, ${name}, random known ids`,
    rate(20 * LIST, (run) => each(known, (ids) => map.admit(ids, run))),
  );
  tell(`IdMap.admit, ${name}, new ids`, fresh);
}

const names = Array.from({ length: 15 }, (_, part) => list((_, i) => `user-${part * LIST + i}`));
let map = new IdMap({ rows: 1_000_000, idType: "string" });
const fresh = rate(names.length * LIST, () => {
  map = new IdMap({ rows: 1_000_000, idType: "string" });
  for (const ids of names) map.admit(ids, 0);
});
tell(
  "IdMap.lookup, 1 M strings",
  rate(names.length * LIST, () => each(names, (ids) => map.lookup(ids))),
);
tell("IdMap.admit, 1 M strings, new ones", fresh);
console.table(lines);
