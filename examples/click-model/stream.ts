/**
 * Streams flights through the service in the order of their departure. Each is predicted when it leaves; its outcome
 * is learned only when `lag` later ones have left, because nobody knows it before it has landed. The baselines see
 * the same flights and the same outcomes at the same times.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { HashedIds } from "@shardgrad/core";
import { ConstantBaseline, PlainLogisticRegression } from "./baselines.js";
import { fieldCount, rowsOf } from "./features.js";
import type { Flight, LandedFlight } from "./flights.js";
import { JsonClient, type Reply } from "./http.js";
import { defaultLearner } from "./learner.js";
import { defaultModel } from "./model.js";
import { Scores } from "./scores.js";

export interface StreamOptions {
  readonly url: string;
  /** Of the hashing, which the baselines share with the service's model. */
  readonly seed: number;
  /** Flights in one request. */
  readonly batchSize: number;
  readonly lag: number;
  /** The stream goes on when so many events or fewer wait to be learned. */
  readonly maxBehind: number;
}

export interface Judgement {
  readonly logLoss: number | undefined;
  readonly auc: number | undefined;
}

export interface StreamResult {
  readonly events: number;
  readonly seconds: number;
  readonly lateRate: number | undefined;
  /** How often the service asked to wait. */
  readonly refused: number;
  readonly shardgrad: Judgement;
  /** Logistic regression in plain JavaScript, in steps of as many events as the service's. */
  readonly plainByBatch: Judgement;
  /** The same, a step for each event. */
  readonly plainByEvent: Judgement;
  readonly constant: Judgement;
}

/** Learning rates that were best on the first 600,000 flights, each for its own way. */
const byBatch = { learningRate: 0.1, stepSize: defaultLearner.stepSize };
const byEvent = { learningRate: 0.07, stepSize: 1 };

/** The service answered otherwise than it should. */
export class ServiceReplyError extends Error {
  override readonly name = "ServiceReplyError";
}

function withoutOutcome({ departure, origin, destination, distance }: LandedFlight): Flight {
  return { departure, origin, destination, distance };
}

function expectStatus(path: string, reply: Reply, status: number): void {
  if (reply.status !== status) {
    throw new ServiceReplyError(
      `${path} answered ${reply.status} instead of ${status}: ${JSON.stringify(reply.body)}`,
    );
  }
}

/** Offers events until the service takes them. Resolves to the number of refusals. */
export async function learnPatiently(client: JsonClient, events: readonly LandedFlight[]): Promise<number> {
  for (let refused = 0; ; refused++) {
    const reply = await client.post("/learn", { events });
    if (reply.status !== 503) {
      expectStatus("/learn", reply, 202);
      return refused;
    }
    const seconds = Number(reply.headers["retry-after"]);
    // Without Retry-After the service is not busy but stopping: to wait would be in vain.
    if (!(seconds > 0)) expectStatus("/learn", reply, 202);
    await sleep(1000 * seconds);
  }
}

/**
 * Resolves when at most `maxBehind` events wait to be learned. Weeks pass in seconds here: without waiting, the
 * queue would add hours of flights to the lag, which no service in real time would have.
 */
async function caughtUp(client: JsonClient, maxBehind: number): Promise<void> {
  for (;;) {
    const reply = await client.get("/metrics");
    expectStatus("/metrics", reply, 200);
    if (reply.body.queue <= maxBehind) return;
    await sleep(2);
  }
}

export async function streamFlights(
  flights: readonly LandedFlight[],
  { url, seed, batchSize, lag, maxBehind }: StreamOptions,
): Promise<StreamResult> {
  const client = new JsonClient(url);
  const { buckets } = defaultModel;
  const ids = new HashedIds({ buckets, seed });
  const plain = [byBatch, byEvent].map(({ learningRate, stepSize }) => ({
    model: new PlainLogisticRegression({ buckets, learningRate }),
    stepSize,
    scores: new Scores(),
  }));
  const constant = new ConstantBaseline();
  const scores = { shardgrad: new Scores(), constant: new Scores() };
  const flying: { batch: LandedFlight[]; rows: Int32Array }[] = [];
  const lagBatches = Math.ceil(lag / batchSize);
  const started = performance.now();
  let refused = 0;

  for (let first = 0; first < flights.length; first += batchSize) {
    const batch = flights.slice(first, first + batchSize);
    const rows = rowsOf(batch, ids);
    const reply = await client.post("/predict", { events: batch.map(withoutOutcome) });
    expectStatus("/predict", reply, 200);
    batch.forEach(({ late }, i) => {
      scores.shardgrad.add(reply.body.probabilities[i], late);
      for (const { model, scores } of plain) scores.add(model.predict(rows, i * fieldCount), late);
      scores.constant.add(constant.predict(), late);
    });
    flying.push({ batch, rows });
    if (flying.length <= lagBatches) continue;
    const landed = flying.shift()!;
    refused += await learnPatiently(client, landed.batch);
    await caughtUp(client, maxBehind);
    const outcomes = landed.batch.map(({ late }) => late);
    for (const late of outcomes) constant.learn(late);
    for (const { model, stepSize } of plain) {
      for (let from = 0; from < outcomes.length; from += stepSize) {
        const to = from + stepSize;
        model.learn(landed.rows.subarray(from * fieldCount, to * fieldCount), outcomes.slice(from, to));
      }
    }
  }
  const seconds = (performance.now() - started) / 1000;
  client.close();
  const judge = ({ logLoss, auc }: Scores): Judgement => ({ logLoss, auc });
  return {
    events: flights.length,
    seconds,
    lateRate: scores.constant.rate,
    refused,
    shardgrad: judge(scores.shardgrad),
    plainByBatch: judge(plain[0]!.scores),
    plainByEvent: judge(plain[1]!.scores),
    constant: judge(scores.constant),
  };
}
