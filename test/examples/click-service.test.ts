/** The click-model example's service, end to end over loopback. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { demonstrate } from "../../examples/dist/click-model/demonstration.js";
import { type LandedFlight, readFlights } from "../../examples/dist/click-model/flights.js";
import { JsonClient } from "../../examples/dist/click-model/http.js";
import { defaultLearner } from "../../examples/dist/click-model/learner.js";
import { defaultModel } from "../../examples/dist/click-model/model.js";
import { report } from "../../examples/dist/click-model/report.js";
import { SavedModelError } from "../../examples/dist/click-model/saved.js";
import { Service } from "../../examples/dist/click-model/service.js";
import { readCommandLine, UsageError } from "../../examples/dist/click-model/settings.js";

const model = { ...defaultModel, buckets: 2 ** 14 };
const main = fileURLToPath(new URL("../../examples/dist/click-model/main.js", import.meta.url));
let flights: LandedFlight[];
let directory: string;

beforeAll(async () => {
  flights = await readFlights(4000);
  directory = await mkdtemp(join(tmpdir(), "click-model-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const asked = (events: readonly LandedFlight[]) => events.map(({ late, ...flight }) => flight);

/** Holds every step until `open` is called. */
function gate(service: Service): () => void {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const learn = service.model.learn.bind(service.model);
  service.model.learn = async (batch) => {
    await opened;
    return learn(batch);
  };
  return open;
}

async function untilLearned(client: JsonClient, events: number): Promise<void> {
  for (;;) {
    const { body } = await client.get("/metrics");
    if (body.queue === 0 && body.stream.events === events) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

it("predicts, learns, and accounts for it", async () => {
  const service = await Service.start(0, { model });
  const client = new JsonClient(service.url);
  const events = flights.slice(0, 1000);
  const before = await client.post("/predict", { events: asked(events) });
  expect(before.status).toBe(200);
  expect(before.body.probabilities).toEqual(Array.from(service.model.predict(events)));
  expect(await client.get("/healthz")).toMatchObject({ status: 200, body: { status: "ok" } });
  expect((await client.get("/metrics")).body).toMatchObject({ stream: { events: 0 }, steps: 0, queue: 0 });

  const learned = await client.post("/learn", { events });
  expect(learned).toMatchObject({ status: 202, body: { accepted: 1000 } });
  await untilLearned(client, 1000);
  const { body } = await client.get("/metrics");
  expect(body).toMatchObject({
    steps: Math.ceil(1000 / defaultLearner.stepSize),
    failedSteps: 0,
    predictedEvents: 1000,
    maxQueue: defaultLearner.maxQueue,
    latency: { count: 1 },
  });
  expect(body.stream.rate).toBe(events.filter(({ late }) => late).length / 1000);
  expect(body.window).toEqual(body.stream);
  expect(body.stream.auc).toBeGreaterThan(0.3);
  expect(body.latency.p99).toBeGreaterThanOrEqual(body.latency.p50);
  expect(body.learnedPerSecond).toBeGreaterThan(0);

  const after = await client.post("/predict", { events: asked(events) });
  expect(after.body.probabilities).toEqual(Array.from(service.model.predict(events)));
  expect(after.body.probabilities).not.toEqual(before.body.probabilities);
  client.close();
  await service.stop();
});

describe("what is not an event", () => {
  let service: Service;
  let client: JsonClient;
  beforeAll(async () => {
    service = await Service.start(0, { model });
    client = new JsonClient(service.url);
  });
  afterAll(async () => {
    client.close();
    await service.stop();
  });

  const good = { departure: "2001-01-01T00:01", origin: "LAS", destination: "PHL", distance: 2176 };
  it.each([
    ["/predict", {}, "events"],
    ["/predict", { events: [] }, "fewer than 1"],
    ["/predict", { events: [{ ...good, late: true }] }, "additional properties"],
    ["/predict", { events: [{ ...good, distance: "2176" }] }, "/distance must be integer"],
    ["/predict", { events: [{ ...good, departure: "2001-13-01T00:01" }] }, "/departure must match"],
    [
      "/predict",
      { events: [{ ...good, departure: "2001-02-29T00:01" }] },
      '/departure must match format "existing',
    ],
    ["/predict", { events: [good, { ...good, origin: "las" }] }, "events/1/origin must match"],
    ["/learn", { events: [good] }, "late"],
    ["/learn", { events: [{ ...good, late: 1 }] }, "/late must be boolean"],
    ["/learn", { events: new Array(1025).fill({ ...good, late: true }) }, "more than 1024"],
  ])("is answered by %s with 400 and why", async (path, body, why) => {
    const reply = await client.post(path, body);
    expect(reply.status).toBe(400);
    expect(reply.body.message).toContain(why);
  });

  it("changes nothing", async () => {
    const untouched = { predictedEvents: 0, queue: 0, steps: 0, latency: { count: 0 } };
    expect(service.metrics()).toMatchObject(untouched);
    expect((await client.post("/predict", { events: [good] })).status).toBe(200);
    expect((await client.get("/nowhere")).status).toBe(404);
  });
});

it("tells to come again when the queue is full, and takes more when it is not", async () => {
  const service = await Service.start(0, { model, learner: { ...defaultLearner, maxQueue: 1024 } });
  const client = new JsonClient(service.url);
  const open = gate(service);
  expect((await client.post("/learn", { events: flights.slice(0, 1000) })).status).toBe(202);
  const refused = await client.post("/learn", { events: flights.slice(1000, 1025) });
  expect(refused.status).toBe(503);
  expect(refused.headers["retry-after"]).toBe("1");
  expect(refused.body.message).toContain("1000 events wait");
  expect((await client.post("/learn", { events: flights.slice(1000, 1024) })).status).toBe(202);
  // Predictions go on.
  expect((await client.post("/predict", { events: asked(flights.slice(0, 1)) })).status).toBe(200);
  open();
  await untilLearned(client, 1024);
  expect((await client.post("/learn", { events: flights.slice(1024, 1124) })).status).toBe(202);
  await untilLearned(client, 1124);
  client.close();
  await service.stop();
});

it("finishes what is queued before it ends, saves the model, and continues from it", async () => {
  const saved = join(directory, "graceful");
  const service = await Service.start(0, { model, modelFile: saved });
  const { url } = service;
  const client = new JsonClient(url);
  const open = gate(service);
  expect((await client.post("/learn", { events: flights.slice(0, 500) })).status).toBe(202);
  const stopped = service.stop();
  expect(service.stop()).toBe(stopped);
  expect(service.metrics()).toMatchObject({ queue: 500, stream: { events: 0 } });
  open();
  await stopped;
  expect(service.metrics()).toMatchObject({ queue: 0, failedSteps: 0, stream: { events: 500 } });
  client.close();
  await expect(new JsonClient(url).get("/healthz")).rejects.toThrow("ECONNREFUSED");

  const again = await Service.start(0, { model, modelFile: saved });
  const probe = flights.slice(500, 600);
  expect(again.model.predict(probe)).toEqual(service.model.predict(probe));
  expect(again.model.optimizer.iterations).toBe(service.metrics().steps);
  expect(again.model.optimizer.accumulators[0]!.data).toEqual(service.model.optimizer.accumulators[0]!.data);
  await again.stop();

  const other = { ...model, buckets: 2 ** 12 };
  await expect(Service.start(0, { model: other, modelFile: saved })).rejects.toThrow(SavedModelError);
  const bytes = await readFile(saved);
  await writeFile(saved, bytes.subarray(0, bytes.length - 4));
  await expect(Service.start(0, { model, modelFile: saved })).rejects.toThrow("bytes of numbers, expected");
  await writeFile(saved, "something else\n");
  await expect(Service.start(0, { model, modelFile: saved })).rejects.toThrow("is not a saved model");
  const nowhere = join(directory, "missing", "model");
  await expect(Service.start(0, { model, modelFile: nowhere })).rejects.toThrow("folder cannot be written");
});

it.skipIf(process.platform === "win32")("ends with 0 at SIGTERM, with everything learned", async () => {
  const saved = join(directory, "signal");
  const child = spawn(process.execPath, [main, "--serve", "--port", "0", "--model", saved]);
  let output = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (chunk) => {
      output += chunk;
      const found = /listening on (\S+)/.exec(output);
      if (found) resolve(found[1]!);
    });
    child.once("close", (code) => reject(new Error(`ended with ${code}: ${output}`)));
  });
  const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
  const client = new JsonClient(url);
  for (let first = 0; first < 3000; first += 1000) {
    expect((await client.post("/learn", { events: flights.slice(first, first + 1000) })).status).toBe(202);
  }
  child.kill("SIGTERM");
  expect(await closed).toBe(0);
  client.close();
  expect(output).toContain("stopped: 3000 events learned, 0 left in the queue");
  const [header] = (await readFile(saved, "latin1")).split("\n", 1);
  const { iterations } = JSON.parse(header!);
  expect(iterations).toBe(3 * Math.ceil(1000 / defaultLearner.stepSize));
});

it("the demonstration streams, measures and stops", async () => {
  const result = await demonstrate({ events: 20_000, skip: 1000, seed: 2, idleMs: 200 });
  const { stream, idle, learning, metrics } = result;
  expect(stream.events).toBe(20_000);
  // 79 requests, of which the last 16 are still under way when the log ends.
  expect(metrics.stream.events).toBe(63 * 256);
  expect(metrics.queue).toBe(0);
  expect(idle.count).toBeGreaterThan(0);
  expect(learning.count).toBeGreaterThan(0);
  const { shardgrad, plainByBatch, plainByEvent, constant } = stream;
  for (const { logLoss, auc } of [shardgrad, plainByBatch, plainByEvent, constant]) {
    expect(logLoss).toBeGreaterThan(0.3);
    expect(logLoss).toBeLessThan(1);
    expect(auc).toBeGreaterThan(0.4);
  }
  for (const { auc } of [shardgrad, plainByBatch, plainByEvent])
    expect(auc).toBeGreaterThan(constant.auc! + 0.03);
  expect(report(result)).toContain("20,000 flights");
});

describe("the command line", () => {
  it("is read", () => {
    expect(readCommandLine([])).toEqual({ kind: "demonstrate", events: 600_000, skip: 0, seed: 1 });
    expect(readCommandLine(["--events", "1000", "--skip", "2999000", "--seed", "7"])).toEqual({
      kind: "demonstrate",
      events: 1000,
      skip: 2_999_000,
      seed: 7,
    });
    expect(readCommandLine(["--serve"])).toEqual({ kind: "serve", port: 8080, modelFile: undefined });
    expect(readCommandLine(["--serve", "--port", "0", "--model", "x"])).toEqual({
      kind: "serve",
      port: 0,
      modelFile: "x",
    });
    expect(readCommandLine(["--help"])).toEqual({ kind: "help" });
  });

  it.each([
    ["--serve --port 65536", "--port must be"],
    ["--serve --port=", "--port must be"],
    ["--events 12.5", "--events must be"],
    ["--events 10", "--events must be"],
    ["--events 2000000 --skip 1000001", "--skip must be a whole number from 0 to 1000000"],
    ["--seed=-1", "--seed must be"],
    ["--model x", "--model goes with --serve only"],
    ["--port 80", "--port goes with --serve only"],
    ["--serve --skip 5", "--skip goes without --serve only"],
  ])("%s is refused", (line, why) => {
    const read = () => readCommandLine(line.split(" "));
    expect(read).toThrow(UsageError);
    expect(read).toThrow(why);
  });
});
