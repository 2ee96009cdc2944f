/** Shardgrad's side of the table cases: one table, several optimizers, lists that change from step to step. */
import { EMA_MOMENTUM, EPSILON, INITIAL_ACCUMULATOR, LEARNING_RATE } from "./hyper.mjs";
import { fullCollection } from "./machine.mjs";
import { fill } from "./random.mjs";
import { core, kernels } from "./shardgrad.mjs";
import { positions, TableReference } from "./table-reference.mjs";

/** @typedef {import("./lists.mjs").Lists} Lists */
/** @typedef {import("./shardgrad.mjs").Fixture} Fixture */

/**
 * @typedef {object} Optimizing
 * @property {"elementwise" | "rowwise"} [accumulator]
 * @property {"eager" | "lazy"} [ema] a moving average of the weights, and how it is kept
 */

/** @param {Optimizing} optimizing */
function optionsOf({ accumulator = "elementwise", ema }) {
  return {
    learningRate: LEARNING_RATE,
    initialAccumulatorValue: INITIAL_ACCUMULATOR,
    epsilon: EPSILON,
    accumulator,
    ...(ema ? { useEma: true, emaMomentum: EMA_MOMENTUM } : {}),
    ...(ema === "lazy" ? { sparseEma: ema } : {}),
  };
}

/** Whether this version keeps averages of tables lazily: without it, the option is refused. */
export function hasLazyAverages() {
  try {
    new core.Adagrad(/** @type {any} */ (optionsOf({ ema: "lazy" })));
    return true;
  } catch (error) {
    if (/** @type {any} */ (error)?.name === "OptionError") return false;
    throw error;
  }
}

/**
 * A table in a runtime of its own, which gives its memory back when it is closed. With more than one thread no step is
 * so small that the calling thread does it alone.
 */
export class Table {
  #runtime;
  #variable;
  /** @type {Map<number, Float32Array[]>} by elements of a block */
  #gradients = new Map();

  /** @param {{ rows: number, dim: number, threads: number }} options `threads` 0: inline */
  constructor({ rows, dim, threads }) {
    const inline = threads === 0 ? {} : { inlineThreshold: 0 };
    this.#runtime = new core.Runtime({ threads, kernels, ...inline });
    this.#variable = new core.Variable("zeros", {
      shape: [rows, dim],
      name: "table",
      runtime: this.#runtime,
    });
    for (const { data } of this.#variable.segments) fill(/** @type {Float32Array} */ (data), 1);
    this.dim = dim;
    this.threads = threads;
  }

  /** Starts the threads. */
  ready() {
    return this.#runtime.ready();
  }

  /** Memories that the table is split over. */
  get segments() {
    return this.#variable.segments.length;
  }

  /**
   * An optimizer of the table. Several change it in turn, each with its own accumulator.
   * @param {Optimizing} optimizing
   * @returns {(lists: Lists) => Fixture} steps over lists in turn
   */
  optimizing(optimizing) {
    const options = { ...optionsOf(optimizing), runtime: this.#runtime };
    const optimizer = new core.Adagrad(/** @type {any} */ (options));
    optimizer.build([this.#variable]);
    return (lists) => this.#stepping(lists, optimizer, optimizing);
  }

  /**
   * @param {Lists} lists
   * @param {import("@shardgrad/core").Adagrad} optimizer
   * @param {Optimizing} optimizing
   * @returns {Fixture}
   */
  #stepping(lists, optimizer, optimizing) {
    const variable = this.#variable;
    const gradients = this.#blocks(lists);
    const denseShape = [lists.rows, lists.dim];
    const steps = lists.indices.map((indices, i) => {
      const values = gradients[i % gradients.length];
      return /** @type {any} */ ([[new core.IndexedSlices({ indices, values, denseShape }), variable]]);
    });
    let at = 0;
    const next = () => {
      at = at + 1 === steps.length ? 0 : at + 1;
      return steps[at];
    };
    // The rows that are looked at belong to the last step, so that a lazy average is up to date too: before, after.
    const check = () => {
      const rows = positions(lists.slices, 24).map((position) => lists.indices[0][position]);
      optimizer.applyGradientsSync(steps[0]);
      const reference = new TableReference(rows, lists.dim, optimizing, {
        weights: variable,
        accumulator: optimizer.accumulators[0],
        average: optimizing.ema ? optimizer.averages[0] : undefined,
      });
      for (const i of [1, 0]) {
        optimizer.applyGradientsSync(steps[i]);
        reference.step(lists.indices[i], gradients[i % gradients.length]);
      }
      reference.compare();
    };
    return {
      stepSync: () => optimizer.applyGradientsSync(next()),
      stepAsync: () => optimizer.applyGradients(next()),
      check,
      close: () => {}, // the table's memory goes back as a whole
    };
  }

  /** @param {Lists} lists */
  #blocks({ slices, dim, blocks }) {
    const length = slices * dim;
    const found = this.#gradients.get(length) ?? [];
    this.#gradients.set(length, found);
    // In the table's memory, so that no step copies them; a table that is split over several has no such memory.
    const place = this.segments > 1 ? {} : { near: this.#variable };
    while (found.length < blocks) {
      const block = /** @type {Float32Array} */ (this.#runtime.allocate(length, "float32", place));
      fill(block, found.length + 2);
      found.push(block);
    }
    return found;
  }

  async close() {
    await this.#runtime.close();
    this.#gradients.clear();
    this.#variable = /** @type {any} */ (undefined);
    this.#runtime = /** @type {any} */ (undefined);
    fullCollection();
  }
}
