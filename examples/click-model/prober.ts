/** Asks for one prediction every few milliseconds and measures the answers, until it is told to stop. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Flight } from "./flights.js";
import { JsonClient } from "./http.js";
import { Latency, type LatencySummary } from "./latency.js";

export interface ProbeOptions {
  readonly url: string;
  readonly flights: readonly Flight[];
  readonly everyMs: number;
  /** Stops by itself after so many predictions. */
  readonly atMost: number;
}

export async function probe(
  { url, flights, everyMs, atMost }: ProbeOptions,
  signal: AbortSignal,
): Promise<LatencySummary> {
  const client = new JsonClient(url);
  const latency = new Latency();
  for (let i = 0; i < atMost && !signal.aborted; i++) {
    const before = performance.now();
    const { status, body } = await client.post("/predict", { events: [flights[i % flights.length]] });
    if (status !== 200) throw new Error(`/predict answered ${status}: ${JSON.stringify(body)}`);
    latency.record(performance.now() - before);
    await sleep(Math.max(0, everyMs - (performance.now() - before)));
  }
  client.close();
  return latency.summary();
}
