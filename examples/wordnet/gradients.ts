/**
 * One training step's gradients, in shards that any thread may compute.
 *
 * Loss, summed over the batch: log(1 + exp(-score)) of each training triple, log(1 + exp(score)) of each corrupted
 * one (head or tail replaced by a random synset), and l2/2 * |row|^2 of every row a triple of the batch uses.
 *
 * The arrays have one fixed place for every slice: a triple's head, its tail, its corrupted tails, its corrupted
 * heads. Relations are few, so each shard sums theirs in rows of its own (18 slices a shard). The number of shards
 * is fixed and every shard draws from its own random stream, so the values do not depend on how many threads work.
 */
import { dot, type Model, type ModelName, models } from "./models.js";
import { Random } from "./random.js";

/** Shards of a batch, whatever the number of threads: more than threads, so that a slow one does not hold up. */
export const shardCount = 16;

/** Plain data on shared memory: posted to each worker once, when training starts. */
export interface GradientJob {
  readonly model: ModelName;
  /** Floats in a row of either table. */
  readonly rowSize: number;
  /** The live tables: variable.data. */
  readonly entities: Float32Array;
  readonly relations: Float32Array;
  readonly train: Int32Array;
  /** The epoch's order of the training triples. */
  readonly order: Int32Array;
  readonly batchSize: number;
  /** Corrupted tails, and as many corrupted heads, for each triple. */
  readonly corruptionsPerSide: number;
  readonly l2: number;
  readonly seed: number;
  /** (2 + 2 * corruptionsPerSide) slices a triple. */
  readonly entityIndices: Int32Array;
  readonly entityValues: Float32Array;
  /** One slice for each shard and relation. */
  readonly relationIndices: Int32Array;
  readonly relationValues: Float32Array;
  /** Loss of each shard. */
  readonly losses: Float64Array;
}

export function slicesPerTriple(corruptionsPerSide: number): number {
  return 2 + 2 * corruptionsPerSide;
}

/** log(1 + exp(x)) without overflow. */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** Computes shards of one job; owns the scratch rows, so one thread needs one. */
export class GradientComputer {
  readonly #job: GradientJob;
  readonly #model: Model;
  readonly #query: Float32Array;
  readonly #sum: Float32Array;

  constructor(job: GradientJob) {
    this.#job = job;
    this.#model = models[job.model];
    this.#query = new Float32Array(job.rowSize);
    this.#sum = new Float32Array(job.rowSize);
  }

  /** `step` counts batches from the start of training; `first` is the batch's first position in `order`. */
  compute(step: number, first: number, shard: number): void {
    const { batchSize, relationValues, rowSize, relations, losses, seed } = this.#job;
    const start = Math.floor((batchSize * shard) / shardCount);
    const end = Math.floor((batchSize * (shard + 1)) / shardCount);
    const random = new Random(seed, step, shard);
    relationValues.fill(0, shard * relations.length, (shard + 1) * relations.length);
    let loss = 0;
    for (let i = start; i < end; i++) {
      loss += this.#triple(i, this.#job.order[first + i]!, shard * relations.length, random, rowSize);
    }
    losses[shard] = loss;
  }

  #triple(place: number, triple: number, relationBase: number, random: Random, size: number): number {
    const { entities, relations, entityIndices, entityValues, relationValues, train, l2 } = this.#job;
    const { corruptionsPerSide } = this.#job;
    const model = this.#model;
    const query = this.#query;
    const sum = this.#sum;
    const head = train[3 * triple]!;
    const tail = train[3 * triple + 2]!;
    const h = head * size;
    const r = train[3 * triple + 1]! * size;
    const t = tail * size;
    const slice = place * slicesPerTriple(corruptionsPerSide);
    const headOut = slice * size;
    const tailOut = headOut + size;
    entityIndices[slice] = head;
    entityIndices[slice + 1] = tail;

    // (head, relation, ?): the true tail and the corrupted ones. `sum` collects the gradient of the query.
    model.forward(entities, h, relations, r, query, 0, size);
    sum.fill(0);
    let loss = this.#example(t, tailOut, 1);
    for (let j = 0; j < corruptionsPerSide; j++) {
      const other = random.below(entities.length / size);
      entityIndices[slice + 2 + j] = other;
      loss += this.#example(other * size, (slice + 2 + j) * size, -1);
    }
    for (let k = 0; k < size; k++) entityValues[headOut + k] = l2 * entities[h + k]!;
    model.addBackward(relations, r, sum, 0, entityValues, headOut, size);
    const relationOut = relationBase + r;
    for (let k = 0; k < size; k++) relationValues[relationOut + k]! += l2 * relations[r + k]!;
    model.addRelation(entities, h, sum, 0, relationValues, relationOut, size);

    // (?, relation, tail): corrupted heads only; the true triple was counted above.
    model.backward(relations, r, entities, t, query, 0, size);
    sum.fill(0);
    for (let j = 0; j < corruptionsPerSide; j++) {
      const other = random.below(entities.length / size);
      const at = slice + 2 + corruptionsPerSide + j;
      entityIndices[at] = other;
      loss += this.#example(other * size, at * size, -1);
    }
    model.addForward(sum, 0, relations, r, entityValues, tailOut, size);
    model.addRelation(sum, 0, entities, t, relationValues, relationOut, size);
    return loss;
  }

  /**
   * One example of the current query: writes the gradient of the entity row at `at` to the slice at `out`, and adds
   * to the gradient of the query. `label` is 1 for a true triple, -1 for a corrupted one.
   */
  #example(at: number, out: number, label: number): number {
    const { entities, entityValues, rowSize, l2 } = this.#job;
    const query = this.#query;
    const sum = this.#sum;
    const score = dot(query, 0, entities, at, rowSize);
    const slope = -label * sigmoid(-label * score);
    for (let k = 0; k < rowSize; k++) {
      const value = entities[at + k]!;
      entityValues[out + k] = slope * query[k]! + l2 * value;
      sum[k]! += slope * value;
    }
    return softplus(-label * score);
  }
}
