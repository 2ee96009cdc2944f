/** The HTTP service: predictions, learning, metrics, and a stop that loses nothing it has acknowledged. */
import { Runtime } from "@shardgrad/core";
import fastify, { type FastifyInstance } from "fastify";
import type { Flight, LandedFlight } from "./flights.js";
import { Latency, type LatencySummary } from "./latency.js";
import { BusyError, defaultLearner, Learner, type LearnerOptions } from "./learner.js";
import { defaultModel, Model, type ModelOptions } from "./model.js";
import { checkPlace, restoreModel, saveModel } from "./saved.js";
import { formats, learnBody, predictBody } from "./schemas.js";

export interface ServiceOptions {
  readonly model?: ModelOptions;
  readonly learner?: LearnerOptions;
  /** Threads of the optimizer. */
  readonly threads?: number;
  /** Where the model is read from at the start, if it is there, and written at the end. */
  readonly modelFile?: string | undefined;
}

interface Judged {
  readonly logLoss?: number | undefined;
  readonly auc?: number | undefined;
  readonly rate?: number | undefined;
  readonly events: number;
}

export interface Metrics {
  /** Every learned event's probability just before it was learned; `window` is the last of them. */
  readonly stream: Judged;
  readonly window: Judged;
  readonly steps: number;
  readonly failedSteps: number;
  readonly predictedEvents: number;
  /** Events a second since the first that was learned. */
  readonly learnedPerSecond: number;
  /** Events that wait to be learned, and how many may. */
  readonly queue: number;
  readonly maxQueue: number;
  /** Milliseconds from a prediction's request to its reply, as the service sees them. */
  readonly latency: LatencySummary;
}

export class Service {
  readonly model: Model;
  readonly learner: Learner;
  readonly #app: FastifyInstance;
  readonly #runtime: Runtime;
  readonly #modelFile: string | undefined;
  readonly #latency = new Latency();
  #predicted = 0;
  #firstLearned: number | undefined;
  #stopped: Promise<void> | undefined;

  private constructor(options: ServiceOptions) {
    // One thread leaves the other processors to requests. Every step goes to it, however small.
    this.#runtime = new Runtime({ threads: options.threads ?? 1, inlineThreshold: 0 });
    this.model = new Model(this.#runtime, options.model ?? defaultModel);
    this.learner = new Learner(this.model, options.learner ?? defaultLearner);
    this.#modelFile = options.modelFile;
    this.#app = this.#routes();
  }

  /** A service that listens on loopback; port 0 takes any free one. */
  static async start(port = 0, options: ServiceOptions = {}): Promise<Service> {
    const service = new Service(options);
    try {
      const { modelFile } = options;
      if (modelFile !== undefined) await checkPlace(modelFile);
      const restored = modelFile !== undefined && (await restoreModel(service.model, modelFile));
      // The slots are made now, so that no request waits for them.
      if (!restored) service.model.build();
      await service.#runtime.ready();
      await service.#app.listen({ host: "127.0.0.1", port });
    } catch (error) {
      await service.#close();
      throw error;
    }
    return service;
  }

  get url(): string {
    const address = this.#app.server.address();
    if (address === null || typeof address === "string") throw new Error("The service does not listen");
    return `http://127.0.0.1:${address.port}`;
  }

  /** Takes no more requests, answers those that are there, learns what waits, saves the model, ends the threads. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    try {
      await this.#app.close();
      await this.learner.stop();
      if (this.#modelFile !== undefined) await saveModel(this.model, this.#modelFile);
    } finally {
      await this.#close();
    }
  }

  async #close(): Promise<void> {
    this.model.dispose();
    await this.#runtime.close();
  }

  metrics(): Metrics {
    const { learner } = this;
    const { scores } = learner;
    const seconds = (performance.now() - (this.#firstLearned ?? performance.now())) / 1000;
    return {
      stream: judged(scores),
      window: judged(learner.window.scores),
      steps: learner.steps,
      failedSteps: learner.failedSteps,
      predictedEvents: this.#predicted,
      learnedPerSecond: seconds === 0 ? 0 : scores.count / seconds,
      queue: learner.waiting,
      maxQueue: learner.options.maxQueue,
      latency: this.#latency.summary(),
    };
  }

  #routes(): FastifyInstance {
    const app = fastify({
      // Fastify's own choice would drop unknown properties and turn "7" into 7, which hides mistakes.
      ajv: { customOptions: { removeAdditional: false, coerceTypes: false, formats } },
      bodyLimit: 1 << 20,
    });
    app.post<{ Body: { events: Flight[] } }>(
      "/predict",
      {
        schema: { body: predictBody },
        onResponse: async (_request, reply) => {
          // Refusals are quick and would make predictions look quicker than they are.
          if (reply.statusCode === 200) this.#latency.record(reply.elapsedTime);
        },
      },
      async ({ body }) => {
        const probabilities = Array.from(this.model.predict(body.events));
        this.#predicted += probabilities.length;
        return { probabilities };
      },
    );
    app.post<{ Body: { events: LandedFlight[] } }>(
      "/learn",
      { schema: { body: learnBody } },
      async ({ body }, reply) => {
        this.learner.accept(body.events);
        this.#firstLearned ??= performance.now();
        return reply.code(202).send({ accepted: body.events.length, queue: this.learner.waiting });
      },
    );
    app.get("/metrics", async () => this.metrics());
    app.get("/healthz", async (_request, reply) => {
      const { lastFailed } = this.learner;
      if (lastFailed) reply.code(500);
      return { status: lastFailed ? "the last step failed" : "ok" };
    });
    app.setErrorHandler(async (error, _request, reply) => {
      if (error instanceof BusyError) reply.header("retry-after", "1");
      // The thrown error's own status: 400 for what the schemas refuse, 503 while busy or stopping.
      return reply.send(error);
    });
    return app;
  }
}

function judged(scores: Learner["scores"]): Judged {
  return { logLoss: scores.logLoss, auc: scores.auc, rate: scores.rate, events: scores.count };
}
