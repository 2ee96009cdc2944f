/**
 * Trains one model: the team computes a batch's gradients, Shardgrad's Adagrad applies them, in turns.
 *
 * The turns do not overlap, on purpose. Computing batch n + 1 while batch n is applied would read rows that are
 * being written: faster on machines with cores to spare, but never the same twice. In turns every thread works in
 * both halves of a step, and the result depends on the seed alone, not on the number of threads.
 */
import { Adagrad, IndexedSlices, PolynomialDecay, type Runtime, Variable } from "@shardgrad/core";
import { type GradientJob, shardCount, slicesPerTriple } from "./gradients.js";
import type { ModelName } from "./models.js";
import { Random } from "./random.js";
import type { Training } from "./settings.js";
import type { Team } from "./team.js";

export interface Progress {
  readonly step: number;
  readonly steps: number;
  /** Mean loss of an example (a true or corrupted triple), smoothed over the last batches. */
  readonly loss: number;
  readonly triplesPerSecond: number;
  readonly stepsPerSecond: number;
}

export interface Validation {
  readonly epoch: number;
  readonly mrr: number;
}

export interface Trained {
  readonly model: ModelName;
  readonly rowSize: number;
  readonly entities: Variable;
  readonly relations: Variable;
  /** Mean loss of each epoch. */
  readonly losses: readonly number[];
  readonly validations: readonly Validation[];
  /** The epoch whose tables these are: that of the best validation, or the last one if there was none. */
  readonly bestEpoch: number;
  readonly seconds: number;
  /** Seconds of it spent in the optimizer, as its iteration events tell. */
  readonly optimizerSeconds: number;
  readonly epochs: number;
}

export interface TrainOptions {
  readonly model: ModelName;
  readonly training: Training;
  readonly train: Int32Array;
  readonly entityCount: number;
  readonly relationCount: number;
  readonly seed: number;
  readonly runtime: Runtime;
  readonly team: Team;
  readonly onProgress?: (progress: Progress) => void;
  /** The validation MRR; asked for every training.validateEvery epochs. */
  readonly validate?: (entities: Float32Array, relations: Float32Array) => Promise<number>;
}

function shared<T>(Type: new (buffer: SharedArrayBuffer) => T, length: number, bytesEach: number): T {
  return new Type(new SharedArrayBuffer(length * bytesEach));
}

/** Allocates all that one training needs once; nothing is allocated in the loop but the slices' small wrappers. */
function prepareJob(options: TrainOptions, entities: Variable, relations: Variable): GradientJob {
  const { training, train, relationCount, runtime } = options;
  const { rowSize } = training;
  const triples = train.length / 3;
  const batchSize = Math.floor(triples / training.batches);
  const slices = batchSize * slicesPerTriple(training.corruptionsPerSide);
  const order = shared(Int32Array, triples, 4);
  const relationIndices = shared(Int32Array, shardCount * relationCount, 4);
  for (let i = 0; i < order.length; i++) order[i] = i;
  for (let i = 0; i < relationIndices.length; i++) relationIndices[i] = i % relationCount;
  return {
    model: options.model,
    rowSize,
    entities: entities.data as Float32Array,
    relations: relations.data as Float32Array,
    train,
    order,
    batchSize,
    corruptionsPerSide: training.corruptionsPerSide,
    l2: training.l2,
    seed: options.seed,
    entityIndices: shared(Int32Array, slices, 4),
    // Gradients that lie in the runtime's own memory are applied where they are, without a copy.
    entityValues: runtime.allocate([slices, rowSize]) as Float32Array,
    relationIndices,
    relationValues: runtime.allocate([relationIndices.length, rowSize]) as Float32Array,
    losses: shared(Float64Array, shardCount, 8),
  };
}

export async function trainModel(options: TrainOptions): Promise<Trained> {
  const { model, training, entityCount, relationCount, seed, runtime, team } = options;
  const { rowSize, batches, maxEpochs } = training;
  const initial = { stddev: training.initialDeviation, runtime };
  const entities = Variable.normal([entityCount, rowSize], { ...initial, name: "entities", seed });
  const relations = Variable.normal([relationCount, rowSize], {
    ...initial,
    name: "relations",
    seed: seed + 1,
  });
  const job = prepareJob(options, entities, relations);
  const optimizer = new Adagrad({
    learningRate: new PolynomialDecay({
      initialLearningRate: training.learningRate,
      endLearningRate: training.finalLearningRate,
      decaySteps: maxEpochs * batches,
    }),
    initialAccumulatorValue: training.initialAccumulatorValue,
    name: model,
    runtime,
  });
  const examples = job.batchSize * (1 + 2 * training.corruptionsPerSide);
  const started = performance.now();
  let paused = 0;
  let optimizerMs = 0;
  let batchLoss = 0;
  let smoothed = Number.NaN;
  optimizer.on("iteration", ({ iterations, durationMs }) => {
    optimizerMs += durationMs;
    smoothed = Number.isNaN(smoothed) ? batchLoss : 0.98 * smoothed + 0.02 * batchLoss;
    const seconds = (performance.now() - started - paused) / 1000;
    options.onProgress?.({
      step: iterations,
      steps: maxEpochs * batches,
      loss: smoothed,
      triplesPerSecond: (iterations * job.batchSize) / seconds,
      stepsPerSecond: iterations / seconds,
    });
  });

  const shuffler = new Random(seed, 0x0bde);
  const stopper = new EarlyStop(entities, relations);
  const losses: number[] = [];
  await team.run({ kind: "job", job });
  for (let epoch = 0; epoch < maxEpochs; epoch++) {
    shuffler.shuffle(job.order);
    let epochLoss = 0;
    for (let batch = 0; batch < batches; batch++) {
      // The last few triples that fill no batch wait for another epoch's order.
      await team.run({ kind: "gradients", step: epoch * batches + batch, first: batch * job.batchSize });
      batchLoss = job.losses.reduce((sum, loss) => sum + loss, 0) / examples;
      epochLoss += batchLoss;
      await optimizer.applyGradients([
        [new IndexedSlices({ indices: job.entityIndices, values: job.entityValues }), entities],
        [new IndexedSlices({ indices: job.relationIndices, values: job.relationValues }), relations],
      ]);
    }
    losses.push(epochLoss / batches);
    if (options.validate && training.validateEvery > 0 && (epoch + 1) % training.validateEvery === 0) {
      const before = performance.now();
      const mrr = await options.validate(job.entities, job.relations);
      paused += performance.now() - before;
      if (stopper.shouldStop({ epoch: epoch + 1, mrr })) break;
    }
  }
  stopper.restoreBest();
  const seconds = (performance.now() - started - paused) / 1000;
  runtime.release(job.entityValues);
  runtime.release(job.relationValues);
  return {
    model,
    rowSize,
    entities,
    relations,
    losses,
    validations: stopper.validations,
    bestEpoch: stopper.bestEpoch ?? losses.length,
    seconds,
    optimizerSeconds: optimizerMs / 1000,
    epochs: losses.length,
  };
}

/** Stops at the third validation in a row that brings no better MRR, and keeps the best tables. */
class EarlyStop {
  readonly validations: Validation[] = [];
  #best: Validation | undefined;
  #kept: [Variable, Float32Array][] = [];
  readonly #variables: readonly Variable[];

  constructor(...variables: readonly Variable[]) {
    this.#variables = variables;
  }

  get bestEpoch(): number | undefined {
    return this.#best?.epoch;
  }

  shouldStop(validation: Validation): boolean {
    this.validations.push(validation);
    if (!this.#best || validation.mrr > this.#best.mrr) {
      this.#best = validation;
      this.#kept = this.#variables.map((variable) => [variable, (variable.data as Float32Array).slice()]);
    }
    const best = this.validations.indexOf(this.#best);
    return this.validations.length - 1 - best >= 3;
  }

  restoreBest(): void {
    for (const [variable, values] of this.#kept) variable.assign(values);
  }
}
