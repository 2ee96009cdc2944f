import { createHash } from "node:crypto";
import { Adagrad, IdMap, Runtime, Variable } from "@shardgrad/core";
import { Random } from "./random.mjs";
import { Watched } from "./watched.mjs";

const WIDTH = 16;
const MOST_ROWS = 40_000;
const LEAST_MAP = 500;
/** Ids drift by so many a step, so that old ones expire. */
const DRIFT = 3;
const IDS = 6_000;
const MOST_WAITING = 4;

/**
 * Three tables that are trained with random rows: one by ids, with a map that grows, expires and starts anew; one that
 * is resized up and down; and a watched one, whose rows show whether they were read whole. Everything follows from the seed, so that two worlds of one seed must hold the same bits.
 */
export class World {
  counts = { steps: 0, resizes: 0, expired: 0, resets: 0, anew: 0 };
  /** Called when the watched table has segments that old handles do not know. @type {(read: Variable[]) => void} */
  onNewSegments = () => {};
  #gathered = createHash("sha256");
  #random;
  /** Clock of the map. */
  #time = 0;
  /** Steps and resizes that wait or run. @type {Promise<unknown>[]} */
  #waiting = [];

  /** @param {{ seed: number, threads: number }} options */
  constructor({ seed, threads }) {
    this.#random = new Random(seed);
    const runtime = new Runtime({ threads, inlineThreshold: 0 });
    this.runtime = runtime;
    this.map = newMap();
    // The last row is that of all ids without one.
    this.byId = Variable.zeros([this.map.capacity + 1, WIDTH], { name: "byId", runtime });
    this.plain = Variable.uniform([1000, WIDTH], { min: -0.1, max: 0.1, seed, name: "plain", runtime });
    const common = { learningRate: 0.05, useEma: true, emaMomentum: 0.9, sparseEma: "lazy", runtime };
    this.idOptimizer = new Adagrad({ ...common, accumulator: "rowwise" });
    this.plainOptimizer = new Adagrad({ ...common, emaOverwriteFrequency: 50, globalClipnorm: 10 });
    this.idOptimizer.build([this.byId]);
    this.plainOptimizer.build([this.plain]);
    this.watched = new Watched(this.#random, runtime);
  }

  get #tables() {
    return [this.byId, this.plain, this.watched.table];
  }

  get #optimizers() {
    return [this.idOptimizer, this.plainOptimizer, this.watched.optimizer];
  }

  /** A number of steps with what happens between them. @param {number} steps */
  async round(steps) {
    // The largest sizes come in every round, so that what memory they take is taken in the first.
    await this.#resize(this.plain, MOST_ROWS);
    for (let i = 0; i < steps; i++) {
      const chance = this.#random.next();
      if (chance < 0.03) await this.#resize(this.plain, 1 + this.#random.below(MOST_ROWS));
      else if (chance < 0.06) await this.#expire();
      else if (chance < 0.062) await this.#startAnew();
      await this.#trainIds();
      await this.#trainPlain();
      await this.#trainWatched();
    }
    await this.settled();
    for (const table of this.#tables) await table.materialize();
  }

  /** Waits for everything that was called. */
  async settled() {
    await Promise.all(this.#waiting.splice(0));
  }

  /** Of all that training has written, and of all that was read between two steps. */
  checksum() {
    const hash = createHash("sha256").update(this.#gathered.copy().digest());
    for (const array of [...this.#tables, ...this.#optimizers.flatMap(({ variables }) => variables)]) {
      hash.update(`${array.name} ${array.shape}`);
      for (const { data } of array.segments) hash.update(new Uint8Array(data.slice().buffer));
    }
    return hash.digest("hex");
  }

  async close() {
    await this.settled();
    for (const item of [...this.#optimizers, ...this.#tables]) item.dispose();
    await this.runtime.close();
  }

  async #trainIds() {
    const random = this.#random;
    const count = 1 + random.below(400);
    const time = this.#time++;
    const ids = Array.from({ length: count }, () => time * DRIFT + random.zipf(IDS));
    const rows = this.map.admit(ids, time);
    if (this.map.size > 0.95 * this.map.capacity) {
      const before = this.map.capacity;
      this.map.resize(Math.ceil(1.5 * before));
      await this.#resize(this.byId, this.map.capacity + 1);
      // The row of the unknown is another one now, and the old one will be an id's.
      this.#reset([before]);
    }
    const unknown = this.map.capacity;
    await this.#train(
      this.idOptimizer,
      this.byId,
      Uint32Array.from(rows, (row) => (row < 0 ? unknown : row)),
    );
  }

  async #trainPlain() {
    const count = this.#random.below(1000);
    const rows = this.plain.shape[0];
    await this.#train(
      this.plainOptimizer,
      this.plain,
      Uint32Array.from({ length: count }, () => this.#random.zipf(rows)),
    );
  }

  async #trainWatched() {
    const { watched } = this;
    const chance = this.#random.next();
    if (chance < 0.03) {
      this.#waiting.push(watched.resize());
      // Behind the resize and between the steps, as the next gradient needs the new rows.
      await this.settled();
      this.onNewSegments(watched.read);
    } else if (chance < 0.032) {
      this.counts.anew++;
      await this.settled();
      watched.startAnew();
      this.onNewSegments(watched.read);
    } else if (chance < 0.05) {
      this.#waiting.push(watched.table.materialize());
    } else if (chance < 0.1) {
      watched.look();
    } else if (chance < 0.15) {
      this.#waiting.push(watched.gather().then((values) => this.#gathered.update(values)));
    }
    await this.#step(watched.optimizer, watched.table, watched.gradient());
  }

  /** @param {Adagrad} optimizer @param {Variable} table @param {Uint32Array} indices */
  async #train(optimizer, table, indices) {
    const values = Float32Array.from({ length: indices.length * WIDTH }, () => this.#random.next() - 0.5);
    await this.#step(optimizer, table, { indices, values });
  }

  /** @param {Adagrad} optimizer @param {Variable} table @param {import("@shardgrad/core").Gradient} gradient */
  async #step(optimizer, table, gradient) {
    this.counts.steps++;
    if (this.#random.next() < 0.1) {
      await this.settled();
      optimizer.applyGradientsSync([[gradient, table]]);
      return;
    }
    this.#waiting.push(optimizer.applyGradients([[gradient, table]]));
    if (this.#waiting.length >= MOST_WAITING) await this.settled();
  }

  /** @param {Variable} table @param {number} rows */
  async #resize(table, rows) {
    this.counts.resizes++;
    // Behind the steps that wait; what follows needs the new rows.
    this.#waiting.push(table.resizeRows(rows));
    await this.settled();
  }

  async #expire() {
    await this.settled();
    const freed = this.map.expire(this.#time);
    this.counts.expired += freed.length;
    this.#reset(freed);
  }

  /** A new map, and a table of the size that it began with. */
  async #startAnew() {
    this.counts.resets++;
    this.map = newMap();
    await this.#resize(this.byId, 1);
    this.#reset([0]);
    await this.#resize(this.byId, this.map.capacity + 1);
  }

  /** Rows of ids that are gone start as new ones do. @param {Iterable<number>} rows */
  #reset(rows) {
    const [accumulator] = this.idOptimizer.accumulators;
    const [average] = this.idOptimizer.averages;
    for (const row of rows) {
      for (const array of [this.byId, average]) fillRow(array, row, WIDTH, 0);
      fillRow(accumulator, row, 1, 0.1);
    }
  }
}

function newMap() {
  return new IdMap({ rows: LEAST_MAP, admitAfter: 2, expireAfter: 150, maxCandidates: 20_000 });
}

/** @param {Variable} array @param {number} row @param {number} width @param {number} value */
function fillRow({ segments }, row, width, value) {
  const { start, data } = segments.findLast((segment) => segment.start <= row * width);
  data.fill(value, row * width - start, (row + 1) * width - start);
}
