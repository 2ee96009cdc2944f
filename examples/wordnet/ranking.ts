/**
 * Filtered ranking, the protocol of Bordes et al.: for a held-out triple (h, r, t) score (h, r, e) for every entity
 * e, leave out the other tails known to be true in training, validation or test set, and see at which rank t comes;
 * the same for heads. Ties count half (a model that scores all the same ranks in the middle, not first).
 */
import { type Model, type ModelName, models } from "./models.js";

/** Queries scored against one entity row while it is in registers. */
const blockSize = 4;

/** Plain data on shared memory: posted to the workers. Query 2i asks for the tail of triple i, 2i + 1 for its head. */
export interface RankingJob {
  readonly model: ModelName;
  readonly rowSize: number;
  readonly entities: Float32Array;
  readonly relations: Float32Array;
  readonly triples: Int32Array;
  /** Known answers of query q: known[knownStart[q]] up to known[knownStart[q + 1]]. */
  readonly knownStart: Int32Array;
  readonly known: Int32Array;
  /** Written: the rank of each query's answer. */
  readonly ranks: Float64Array;
}

export interface Scores {
  readonly mrr: number;
  readonly hits1: number;
  readonly hits3: number;
  readonly hits10: number;
}

/** Lists for every query all answers that are true in any of the sets. */
export function knownAnswers(
  triples: Int32Array,
  sets: readonly Int32Array[],
): { known: Int32Array; knownStart: Int32Array } {
  const answers = new Map<string, number[]>();
  const queries = triples.length / 3;
  const list: number[][] = [];
  for (let i = 0; i < queries; i++) {
    for (const key of [
      `t${triples[3 * i]} ${triples[3 * i + 1]}`,
      `h${triples[3 * i + 1]} ${triples[3 * i + 2]}`,
    ]) {
      const known = answers.get(key) ?? [];
      answers.set(key, known);
      list.push(known);
    }
  }
  for (const set of sets) {
    for (let i = 0; i < set.length; i += 3) {
      answers.get(`t${set[i]} ${set[i + 1]}`)?.push(set[i + 2]!);
      answers.get(`h${set[i + 1]} ${set[i + 2]}`)?.push(set[i]!);
    }
  }
  const total = list.reduce((sum, known) => sum + known.length, 0);
  const known = new Int32Array(new SharedArrayBuffer(4 * total));
  const knownStart = new Int32Array(new SharedArrayBuffer(4 * (list.length + 1)));
  let at = 0;
  list.forEach((ids, query) => {
    known.set(ids, at);
    at += ids.length;
    knownStart[query + 1] = at;
  });
  return { known, knownStart };
}

export function rankingBlocks(job: RankingJob): number {
  return Math.ceil((2 * job.triples.length) / 3 / blockSize);
}

export class RankComputer {
  readonly #job: RankingJob;
  readonly #model: Model;
  readonly #queries: Float32Array;
  readonly #scores: Float32Array;
  readonly #count: number;

  constructor(job: RankingJob) {
    this.#job = job;
    this.#model = models[job.model];
    this.#count = job.entities.length / job.rowSize;
    this.#queries = new Float32Array(blockSize * job.rowSize);
    this.#scores = new Float32Array(blockSize * this.#count);
  }

  compute(block: number): void {
    const { triples } = this.#job;
    const first = block * blockSize;
    const last = Math.min(first + blockSize, (2 * triples.length) / 3);
    for (let query = first; query < last; query++) this.#prepare(query, query - first);
    this.#scoreBlock();
    for (let query = first; query < last; query++) this.#rank(query, query - first);
  }

  #prepare(query: number, place: number): void {
    const { entities, relations, rowSize, triples } = this.#job;
    const triple = 3 * (query >> 1);
    const head = triples[triple]! * rowSize;
    const relation = triples[triple + 1]! * rowSize;
    const tail = triples[triple + 2]! * rowSize;
    const out = place * rowSize;
    if (query & 1) this.#model.backward(relations, relation, entities, tail, this.#queries, out, rowSize);
    else this.#model.forward(entities, head, relations, relation, this.#queries, out, rowSize);
  }

  /** A matrix product, four queries by two entities at a time: eight sums stay in registers. */
  #scoreBlock(): void {
    const { entities, rowSize: size } = this.#job;
    const count = this.#count;
    const queries = this.#queries;
    const scores = this.#scores;
    const even = count - (count & 1);
    for (let e = 0; e < even; e += 2) {
      let at = e * size;
      let a0 = 0;
      let a1 = 0;
      let a2 = 0;
      let a3 = 0;
      let b0 = 0;
      let b1 = 0;
      let b2 = 0;
      let b3 = 0;
      for (let k = 0; k < size; k++, at++) {
        const x = entities[at]!;
        const y = entities[at + size]!;
        const q0 = queries[k]!;
        const q1 = queries[size + k]!;
        const q2 = queries[2 * size + k]!;
        const q3 = queries[3 * size + k]!;
        a0 += q0 * x;
        a1 += q1 * x;
        a2 += q2 * x;
        a3 += q3 * x;
        b0 += q0 * y;
        b1 += q1 * y;
        b2 += q2 * y;
        b3 += q3 * y;
      }
      scores[e] = a0;
      scores[count + e] = a1;
      scores[2 * count + e] = a2;
      scores[3 * count + e] = a3;
      scores[e + 1] = b0;
      scores[count + e + 1] = b1;
      scores[2 * count + e + 1] = b2;
      scores[3 * count + e + 1] = b3;
    }
    if (even < count) {
      for (let q = 0; q < blockSize; q++) {
        let sum = 0;
        for (let k = 0; k < size; k++) sum += queries[q * size + k]! * entities[even * size + k]!;
        scores[q * count + even] = sum;
      }
    }
  }

  #rank(query: number, place: number): void {
    const { known, knownStart, ranks, triples } = this.#job;
    const answer = triples[3 * (query >> 1) + (query & 1 ? 0 : 2)]!;
    const base = place * this.#count;
    const scores = this.#scores;
    const score = scores[base + answer]!;
    // A NaN compares false with everything: a broken model must get the worst rank, not the best.
    if (Number.isNaN(score)) {
      ranks[query] = this.#count;
      return;
    }
    for (let i = knownStart[query]!; i < knownStart[query + 1]!; i++) scores[base + known[i]!] = -Infinity;
    scores[base + answer] = -Infinity;
    let above = 0;
    let equal = 0;
    for (let i = base; i < base + this.#count; i++) {
      if (!(scores[i]! <= score)) above++;
      else if (scores[i] === score) equal++;
    }
    ranks[query] = 1 + above + equal / 2;
  }
}

export function summarise(ranks: ArrayLike<number>): Scores {
  let reciprocal = 0;
  const hits = [0, 0, 0];
  for (let i = 0; i < ranks.length; i++) {
    const rank = ranks[i]!;
    reciprocal += 1 / rank;
    if (rank <= 1) hits[0]!++;
    if (rank <= 3) hits[1]!++;
    if (rank <= 10) hits[2]!++;
  }
  const share = (value: number): number => (ranks.length === 0 ? 0 : value / ranks.length);
  return {
    mrr: share(reciprocal),
    hits1: share(hits[0]!),
    hits3: share(hits[1]!),
    hits10: share(hits[2]!),
  };
}
