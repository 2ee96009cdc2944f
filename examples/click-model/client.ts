/** The thread of the demonstration's clients: measures predictions at rest, then streams and measures together. */
import { parentPort, workerData } from "node:worker_threads";
import { readFlights } from "./flights.js";
import type { LatencySummary } from "./latency.js";
import { probe } from "./prober.js";
import { type StreamResult, streamFlights } from "./stream.js";

export interface ClientJob {
  readonly role: "stream" | "probe";
  readonly url: string;
  readonly events: number;
  readonly skip: number;
  readonly seed: number;
  readonly batchSize: number;
  readonly lag: number;
  readonly maxBehind: number;
}

export type ClientMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "streamed"; readonly result: StreamResult }
  | { readonly kind: "probed"; readonly latency: LatencySummary };

const job = workerData as ClientJob;
const post = (message: ClientMessage): void => parentPort!.postMessage(message);

/** Long enough for a 99th percentile, short enough to be bounded whatever happens. */
const everyMs = 5;
const atMost = 24_000;

const flights = await readFlights(job.role === "stream" ? job.events : 2000, job.skip);
const asked = flights.map(({ departure, origin, destination, distance }) => ({
  departure,
  origin,
  destination,
  distance,
}));
let running = new AbortController();
parentPort!.on("message", async (message: "start" | "stop") => {
  if (message === "stop") running.abort();
  else if (job.role === "stream") {
    post({ kind: "streamed", result: await streamFlights(flights, job) });
  } else {
    running = new AbortController();
    const options = { url: job.url, flights: asked, everyMs, atMost };
    post({ kind: "probed", latency: await probe(options, running.signal) });
  }
});
post({ kind: "ready" });
