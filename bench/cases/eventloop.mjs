/** How long other work of the process waits while asynchronous steps run one after another. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { hasMemory } from "../lib/machine.mjs";
import { denseFixture, runtimeOf } from "../lib/shardgrad.mjs";
import { count, duration, significant, table } from "../lib/table.mjs";

const COLUMNS = [
  { title: "elements", width: 10 },
  { title: "gradient", width: 8, left: true },
  { title: "threads", width: 7 },
  { title: "steps", width: 8 },
  { title: "a step", width: 8 },
  { title: "p50", width: 8 },
  { title: "p99", width: 8 },
  { title: "p99 − idle", width: 10 },
  { title: "max", width: 8 },
];

/** Percentiles of the interval of a 1 ms timer while `work` runs, in ms. */
async function delays(/** @type {() => Promise<number>} */ work) {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  await sleep(10); // intervals count from the first tick: a loop blocked before it would not be seen
  const steps = await work();
  await sleep(5); // a loop that was blocked to the end is only seen by the next tick
  histogram.disable();
  const ms = (/** @type {number} */ ns) => ns / 1e6;
  return {
    steps,
    p50: ms(histogram.percentile(50)),
    p99: ms(histogram.percentile(99)),
    max: ms(histogram.max),
  };
}

/** @param {import("./context.mjs").Context} context */
export async function eventloop({ options, report }) {
  const milliseconds = options.quick ? 600 : 1500;
  const idle = await delays(async () => {
    await sleep(milliseconds);
    return 0;
  });
  const sizes = options.quick
    ? [64, 2 ** 20, 2 ** 25]
    : [64, 4096, 2 ** 15, 2 ** 17, 2 ** 20, 2 ** 22, 2 ** 25];
  const rows = [];
  const records = [];
  for (const elements of sizes) {
    if (!hasMemory(elements * 4 * 6)) continue;
    for (const threads of options.quick ? [2] : [1, 2]) {
      for (const gradientsIn of /** @type {const} */ (["arena", "array"])) {
        const fixture = denseFixture({ runtime: await runtimeOf(threads), elements, gradientsIn });
        fixture.check();
        await sleep(50);
        const begin = performance.now();
        const seen = await delays(async () => {
          let steps = 0;
          for (; performance.now() - begin < milliseconds; steps++) await fixture.stepAsync();
          return steps;
        });
        const step = ((performance.now() - begin) * 1e6) / seen.steps;
        fixture.check();
        fixture.close();
        const above = seen.p99 - idle.p99;
        records.push({ elements, threads, gradientsIn, ...seen, aboveIdle: above });
        const ms = (/** @type {number} */ value) => `${significant(value)} ms`;
        rows.push([
          count(elements),
          gradientsIn,
          threads,
          count(seen.steps),
          duration(step),
          ms(seen.p50),
          ms(seen.p99),
          ms(above),
          ms(seen.max),
        ]);
      }
    }
  }
  const worst = Math.max(...records.map(({ aboveIdle }) => aboveIdle));
  report.extra.eventLoop = { idle, worst, records };
  console.log(
    "\nEvent loop during asynchronous steps, each awaited before the next: interval of a 1 ms timer.",
  );
  console.log(`Idle: p50 ${significant(idle.p50)} ms, p99 ${significant(idle.p99)} ms.`);
  console.log(table(COLUMNS, rows));
}
