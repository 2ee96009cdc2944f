/** The demonstration's results as text. */
import type { Demonstration } from "./demonstration.js";
import type { LatencySummary } from "./latency.js";
import type { Judgement } from "./stream.js";

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "),
    )
    .join("\n");
}

const fixed = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? "-";

export function report({ stream, idle, learning, metrics }: Demonstration): string {
  const judged = (name: string, { logLoss, auc }: Judgement): string[] => [
    name,
    fixed(logLoss, 4),
    fixed(auc, 4),
  ];
  const timed = (name: string, { count, p50, p99 }: LatencySummary): string[] => [
    name,
    fixed(p50, 2),
    fixed(p99, 2),
    count.toLocaleString("en"),
  ];
  const { events, seconds, lateRate, refused } = stream;
  return [
    table([
      ["predicted at departure", "log loss", "AUC"],
      judged("factorization machine, Shardgrad", stream.shardgrad),
      judged("logistic regression, plain JavaScript, same steps", stream.plainByBatch),
      judged("the same, a step for each event", stream.plainByEvent),
      judged("constant: rate of late flights so far", stream.constant),
      judged("/metrics: the machine just before it learns", {
        logLoss: metrics.stream.logLoss,
        auc: metrics.stream.auc,
      }),
    ]),
    "",
    table([
      ["one prediction, ms over loopback", "p50", "p99", "requests"],
      timed("at rest", idle),
      timed("while learning", learning),
    ]),
    "",
    `${events.toLocaleString("en")} flights (${fixed(100 * (lateRate ?? 0), 1)} % late) in ${seconds.toFixed(1)} s: ` +
      `${Math.round(events / seconds).toLocaleString("en")} events/s predicted and learned, ` +
      `${metrics.steps.toLocaleString("en")} steps, ${refused} times told to wait`,
    `stopped: ${metrics.stream.events.toLocaleString("en")} events learned, ${metrics.queue} left in the queue`,
  ].join("\n");
}
