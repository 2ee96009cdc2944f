/** The demonstration: a service, a client that streams the log, and one that measures predictions meanwhile. */
import { setTimeout as sleep } from "node:timers/promises";
import type { ClientMessage } from "./client.js";
import { ClientThread } from "./clientThread.js";
import type { LatencySummary } from "./latency.js";
import { defaultModel } from "./model.js";
import { type Metrics, Service } from "./service.js";
import type { StreamResult } from "./stream.js";

export interface DemonstrationOptions {
  /** Flights to stream, after the first `skip` of the log. */
  readonly events: number;
  readonly skip?: number;
  readonly seed?: number;
  /** How long predictions are measured before the learning begins. */
  readonly idleMs?: number;
}

export interface Demonstration {
  readonly stream: StreamResult;
  readonly idle: LatencySummary;
  readonly learning: LatencySummary;
  /** The service's own account, after it has stopped. */
  readonly metrics: Metrics;
}

/** Flights in a request, and how many depart before an outcome is known: about six hours' worth. */
const batchSize = 256;
const lag = 4096;
const maxBehind = 256;

function latencyOf(message: ClientMessage): LatencySummary {
  if (message.kind !== "probed") throw new Error(`A prober sent ${message.kind}`);
  return message.latency;
}

export async function demonstrate({
  events,
  skip = 0,
  seed = defaultModel.seed,
  idleMs = 4000,
}: DemonstrationOptions): Promise<Demonstration> {
  const service = await Service.start(0, { model: { ...defaultModel, seed } });
  const job = { url: service.url, events, skip, seed, batchSize, lag, maxBehind };
  const streamer = new ClientThread({ ...job, role: "stream" });
  const prober = new ClientThread({ ...job, role: "probe" });
  try {
    await Promise.all([streamer.ready(), prober.ready()]);
    // The first requests are slow until the code is compiled; they are not measured.
    await during(prober, () => sleep(idleMs / 4));
    const [, idle] = await during(prober, () => sleep(idleMs));
    const [streamed, learning] = await during(prober, () => streamer.start());
    if (streamed.kind !== "streamed") throw new Error(`The streamer sent ${streamed.kind}`);
    await service.stop();
    return { stream: streamed.result, idle, learning, metrics: service.metrics() };
  } finally {
    await Promise.all([streamer.end(), prober.end(), service.stop()]);
  }
}

/** What `work` gives, and the latency of predictions while it was going on. */
async function during<T>(prober: ClientThread, work: () => Promise<T>): Promise<[T, LatencySummary]> {
  const probed = prober.start();
  // A prober that fails ends the whole thing, whatever the work does.
  const result = await Promise.race([work(), probed.then(() => new Promise<never>(() => {}))]);
  prober.stop();
  return [result, latencyOf(await probed)];
}
