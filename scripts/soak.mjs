/**
 * Trains for a while with everything that tables go through, and looks for leaks and wrong bits.
 *
 *   node scripts/soak.mjs                       # 10 minutes
 *   node scripts/soak.mjs --minutes 1 --seed 7 --threads 4 --readers 3 --steps 200
 *
 * In rounds: a world on several threads, then the same on the calling thread alone, from the same seed. After each round
 * both must have the same checksum. Readers in threads of their own look at a table of the first world meanwhile, and at its
 * slots: no row may be torn, or another row. Shared memory, heap and resident memory must stay as they are after the first fifth.
 * Ends with 1 if something is wrong, and says what.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { leaks, memoryNow, mib } from "./soak/memory.mjs";
import { Readers } from "./soak/readers.mjs";
import { World } from "./soak/world.mjs";

const { values: given } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: "1" },
    threads: { type: "string", default: String(Math.max(2, availableParallelism())) },
    readers: { type: "string", default: "2" },
    steps: { type: "string", default: "400" },
  },
});
const milliseconds = 60_000 * Number(given.minutes);
const [seed, threads, steps] = [given.seed, given.threads, given.steps].map(Number);
/** Rounds after which memory counts as warm, however short the run is. */
const LEAST_WARM = 3;

const trained = new World({ seed, threads });
const replay = new World({ seed, threads: 0 });
const runtimes = [trained.runtime, replay.runtime];
const readers = new Readers(trained, Number(given.readers));
const started = performance.now();
const problems = [];
let warm;
let now = await memoryNow(runtimes);
let rounds = 0;
let reported = started;
while (problems.length === 0 && (performance.now() - started < milliseconds || rounds < 2 * LEAST_WARM)) {
  await trained.round(steps);
  await replay.round(steps);
  rounds++;
  const sums = [trained.checksum(), replay.checksum()];
  if (sums[0] !== sums[1])
    problems.push(`round ${rounds}: the threads' checksum is ${sums[0]}, the replay's ${sums[1]}`);
  problems.push(...readers.problems());
  now = await memoryNow(runtimes);
  const isWarm = rounds >= LEAST_WARM && performance.now() - started > milliseconds / 5;
  if (isWarm && warm !== undefined) problems.push(...leaks(warm, now));
  if (isWarm) warm ??= now;
  if (performance.now() - reported > 30_000) {
    reported = performance.now();
    report();
  }
}
// Before anything is waited for that may not come.
for (const problem of problems) console.error(problem);
await readers.stop();
for (const world of [trained, replay]) await world.close();
report();
if (problems.length === 0) console.log(`The same checksum after each of ${rounds} rounds, and no leak.`);
else process.exitCode = 1;

function report() {
  const { steps: done, expired, resets, anew } = trained.counts;
  const resizes = trained.counts.resizes + trained.watched.counts.resizes;
  const { reads, gone, later, disposed } = readers.counts;
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(
    `${seconds} s, ${rounds} rounds: ${done} steps, ${resizes} resizes, ${expired} rows expired, ${resets} new maps; ` +
      `shared ${mib(now.shared)}, heap ${mib(now.heap)}, resident ${mib(now.rss)}; ` +
      `${reads} gathers of readers, refused ${gone} for rows that went, ${later} for rows that came later, ` +
      `${disposed} after ${anew} tables were given away`,
  );
}
