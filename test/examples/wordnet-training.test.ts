/** Gradients, ranking and a tiny training run of the WordNet example. */
import { Runtime, type Variable } from "@shardgrad/core";
import { describe, expect, it } from "vitest";
import {
  GradientComputer,
  type GradientJob,
  shardCount,
  slicesPerTriple,
} from "../../examples/dist/wordnet/gradients.js";
import { type ModelName, models, scoreTriple } from "../../examples/dist/wordnet/models.js";
import { Random } from "../../examples/dist/wordnet/random.js";
import { knownAnswers, RankComputer, rankingBlocks, summarise } from "../../examples/dist/wordnet/ranking.js";
import { Team } from "../../examples/dist/wordnet/team.js";
import { trainModel } from "../../examples/dist/wordnet/trainer.js";

const modelNames: readonly ModelName[] = ["ComplEx", "DistMult"];

function randomTable(rows: number, size: number, seed: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: rows * size }, () => random.uint32() / 2 ** 32 - 0.5);
}

/** Twelve entities in a ring: "next" (0), its inverse (1), and "opposite" (2), which is symmetric. */
function ring(): Int32Array {
  const triples: number[] = [];
  for (let i = 0; i < 12; i++) triples.push(i, 0, (i + 1) % 12, (i + 1) % 12, 1, i, i, 2, (i + 6) % 12);
  return Int32Array.from(triples);
}

function makeJob(model: ModelName, overrides: Partial<GradientJob> = {}): GradientJob {
  const rowSize = 6;
  const batchSize = 20;
  const corruptionsPerSide = 2;
  const slices = batchSize * slicesPerTriple(corruptionsPerSide);
  return {
    model,
    rowSize,
    entities: randomTable(12, rowSize, 1),
    relations: randomTable(3, rowSize, 2),
    train: ring(),
    order: Int32Array.from({ length: 36 }, (_, i) => i),
    batchSize,
    corruptionsPerSide,
    l2: 0,
    seed: 5,
    entityIndices: new Int32Array(slices),
    entityValues: new Float32Array(slices * rowSize),
    relationIndices: Int32Array.from({ length: shardCount * 3 }, (_, i) => i % 3),
    relationValues: new Float32Array(shardCount * 3 * rowSize),
    losses: new Float64Array(shardCount),
    ...overrides,
  };
}

function computeAll(job: GradientJob): number {
  const computer = new GradientComputer(job);
  for (let shard = 0; shard < shardCount; shard++) computer.compute(3, 7, shard);
  return job.losses.reduce((sum, loss) => sum + loss, 0);
}

/** Slices summed into a table: what a dense gradient would be. */
function scatter(indices: Int32Array, values: Float32Array, size: number, length: number): Float64Array {
  const table = new Float64Array(length);
  values.forEach((value, i) => {
    table[indices[Math.floor(i / size)]! * size + (i % size)]! += value;
  });
  return table;
}

describe.each(modelNames)("%s", (name) => {
  it("has gradients that agree with finite differences", () => {
    const job = makeJob(name);
    computeAll(job);
    const { entities, relations, rowSize } = job;
    const gradients = [
      scatter(job.entityIndices, job.entityValues, rowSize, entities.length),
      scatter(job.relationIndices, job.relationValues, rowSize, relations.length),
    ];
    [entities, relations].forEach((table, which) => {
      for (let i = 0; i < table.length; i++) {
        const value = table[i]!;
        table[i] = value + 1 / 256;
        const step = table[i]! - value;
        const above = computeAll(job);
        table[i] = value - step;
        const below = computeAll(job);
        table[i] = value;
        expect(gradients[which]![i]).toBeCloseTo((above - below) / (2 * step), 3);
      }
    });
  });

  it("adds l2 times the row to the slice of every row it uses", () => {
    const plain = makeJob(name);
    const regular = makeJob(name, { l2: 0.25 });
    computeAll(plain);
    computeAll(regular);
    const { rowSize } = plain;
    regular.entityValues.forEach((value, i) => {
      const row = plain.entityIndices[Math.floor(i / rowSize)]!;
      const expected = plain.entityValues[i]! + 0.25 * plain.entities[row * rowSize + (i % rowSize)]!;
      expect(value).toBeCloseTo(expected, 5);
    });
  });

  it("gives one score by all three ways to write it", () => {
    const { entities, relations, rowSize } = makeJob(name);
    const score = scoreTriple(models[name], entities, relations, rowSize, [4, 1, 9]);
    const back = new Float32Array(rowSize);
    models[name].backward(relations, rowSize, entities, 9 * rowSize, back, 0, rowSize);
    const byHead = back.reduce((sum, value, k) => sum + value * entities[4 * rowSize + k]!, 0);
    const middle = new Float32Array(rowSize);
    models[name].addRelation(entities, 4 * rowSize, entities, 9 * rowSize, middle, 0, rowSize);
    const byRelation = middle.reduce((sum, value, k) => sum + value * relations[rowSize + k]!, 0);
    expect(byHead).toBeCloseTo(score, 5);
    expect(byRelation).toBeCloseTo(score, 5);
  });
});

it("ComplEx tells directions apart, DistMult does not", () => {
  const { entities, relations, rowSize } = makeJob("ComplEx");
  const score = (name: ModelName, head: number, tail: number) =>
    scoreTriple(models[name], entities, relations, rowSize, [head, 0, tail]);
  expect(score("DistMult", 1, 2)).toBeCloseTo(score("DistMult", 2, 1), 6);
  expect(Math.abs(score("ComplEx", 1, 2) - score("ComplEx", 2, 1))).toBeGreaterThan(1e-3);
});

describe("filtered ranking", () => {
  /** One dimension, so a DistMult score is the product of three numbers. */
  function rank(entities: number[], test: number[], train: number[]): number[] {
    const triples = Int32Array.from(test);
    const ranks = new Float64Array((2 * test.length) / 3);
    const job = {
      model: "DistMult" as const,
      rowSize: 1,
      entities: Float32Array.from(entities),
      relations: Float32Array.of(1),
      triples,
      ...knownAnswers(triples, [Int32Array.from(train), triples]),
      ranks,
    };
    const computer = new RankComputer(job);
    for (let block = 0; block < rankingBlocks(job); block++) computer.compute(block);
    return [...ranks];
  }

  it("ranks tail and head by hand", () => {
    // (0, r, 3): tails score 1, 2, 3, 0.5, 4 times 1, so tail 3 is the fifth; heads times 0.5: head 0 is the fourth.
    expect(rank([1, 2, 3, 0.5, 4], [0, 0, 3], [])).toEqual([5, 4]);
  });

  it("leaves out what is known from any set", () => {
    // Tails 2 and 4 of head 0, and head 1 of tail 3, are true as well: they do not stand above.
    expect(rank([1, 2, 3, 0.5, 4], [0, 0, 3], [0, 0, 2, 0, 0, 4, 1, 0, 3])).toEqual([3, 3]);
  });

  it("counts ties as half", () => {
    expect(rank([1, 1, 1, 1, 1], [0, 0, 3], [])).toEqual([3, 3]);
  });

  it("gives a model of NaN the last rank", () => {
    expect(rank([Number.NaN, 1, 1, Number.NaN, 1], [0, 0, 3], [])).toEqual([5, 5]);
  });

  it("ranks queries of several blocks alike", () => {
    const test = [0, 0, 3, 0, 0, 3, 0, 0, 3, 0, 0, 3, 0, 0, 3];
    expect(rank([1, 2, 3, 0.5, 4], test, [])).toEqual([5, 4, 5, 4, 5, 4, 5, 4, 5, 4]);
  });

  it("summarises ranks", () => {
    expect(summarise([1, 2, 4, 20])).toEqual({
      mrr: (1 + 1 / 2 + 1 / 4 + 1 / 20) / 4,
      hits1: 0.25,
      hits3: 0.5,
      hits10: 0.75,
    });
  });
});

describe("a tiny training run", () => {
  const training = {
    rowSize: 16,
    maxEpochs: 60,
    batches: 2,
    corruptionsPerSide: 2,
    learningRate: 0.3,
    finalLearningRate: 0.3,
    initialAccumulatorValue: 0.1,
    l2: 0.001,
    initialDeviation: 0.3,
    validateEvery: 0,
  };

  async function train(threads: number, overrides: Partial<typeof training> = {}, mrr = [0]) {
    await using runtime = new Runtime({ threads });
    await using team = new Team(Math.max(threads, 1));
    let validations = 0;
    const train = new Int32Array(new SharedArrayBuffer(4 * ring().length));
    train.set(ring());
    const trained = await trainModel({
      model: "ComplEx",
      training: { ...training, ...overrides },
      train,
      entityCount: 12,
      relationCount: 3,
      seed: 1,
      runtime,
      team,
      validate: async () => mrr[validations++] ?? 0,
    });
    const copy = (table: Variable): Float32Array => (table.data as Float32Array).slice();
    return { ...trained, entities: copy(trained.entities), relations: copy(trained.relations) };
  }

  it("brings the loss down", async () => {
    const { losses, epochs } = await train(1);
    expect(epochs).toBe(60);
    expect(losses[0]).toBeGreaterThan(0.6);
    expect(losses.at(-1)).toBeLessThan(0.35);
  });

  it("gives the same bits for any number of threads", async () => {
    const inline = await train(0);
    const two = await train(2);
    const three = await train(3);
    expect(two.losses).toEqual(inline.losses);
    expect(two.entities).toEqual(inline.entities);
    expect(three.entities).toEqual(inline.entities);
  });

  it("stops after three validations without a better MRR, and goes back to the best tables", async () => {
    const best = await train(1, { maxEpochs: 4 });
    const stopped = await train(1, { validateEvery: 2 }, [0.1, 0.5, 0.4, 0.5, 0.3, 0.9]);
    expect(stopped.epochs).toBe(10);
    expect(stopped.validations.map(({ mrr }) => mrr)).toEqual([0.1, 0.5, 0.4, 0.5, 0.3]);
    expect(stopped.bestEpoch).toBe(4);
    expect(stopped.entities).toEqual(best.entities);
  });

  it("goes back to the best tables as well when training runs to its last epoch", async () => {
    const best = await train(1, { maxEpochs: 6 });
    const ended = await train(1, { maxEpochs: 10, validateEvery: 2 }, [0.1, 0.2, 0.5, 0.4, 0.3]);
    expect(ended.epochs).toBe(10);
    expect(ended.bestEpoch).toBe(6);
    expect(ended.entities).toEqual(best.entities);
    expect(ended.relations).toEqual(best.relations);
  });

  it("keeps the last tables when nothing is validated", async () => {
    const { epochs, bestEpoch, validations } = await train(1, { maxEpochs: 3 });
    expect({ epochs, bestEpoch, validations }).toEqual({ epochs: 3, bestEpoch: 3, validations: [] });
  });

  it("lowers the learning rate to the final one along a straight line", async () => {
    // One batch an epoch, two epochs: the second step's rate is half way between 0.3 and -0.3, so it moves nothing.
    const one = await train(1, { maxEpochs: 1, batches: 1 });
    const two = await train(1, { maxEpochs: 2, batches: 1, finalLearningRate: -0.3 });
    expect(two.entities).toEqual(one.entities);
    expect(two.relations).toEqual(one.relations);
  });
});

it("a worker that fails makes the run fail instead of hang", async () => {
  await using team = new Team(1);
  await expect(team.run({ kind: "gradients", step: 0, first: 0 })).rejects.toThrow();
});
