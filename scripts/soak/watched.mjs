import { Adagrad, Variable } from "@shardgrad/core";

export const WATCHED_WIDTH = 24;
const MOST_ROWS = 4_000;
const FIRST_ROWS = 300;

/**
 * A table that shows in each row whether that was read whole: element 0 is the row's number, as its gradient is always
 * 0, and the others are equal to each other, as their gradients are. So it is with the average, which rows take over now
 * and then; and with the accumulator, but for the number.
 */
export class Watched {
  counts = { resizes: 0, gathers: 0 };
  #random;
  #runtime;
  #table;
  #optimizer;

  /** @param {import("./random.mjs").Random} random @param {import("@shardgrad/core").Runtime} runtime */
  constructor(random, runtime) {
    this.#random = random;
    this.#runtime = runtime;
    this.#make();
  }

  get table() {
    return this.#table;
  }

  get optimizer() {
    return this.#optimizer;
  }

  /** What readers look at: the numbered ones first. @returns {Variable[]} */
  get read() {
    return [this.#table, ...this.#optimizer.averages, ...this.#optimizer.accumulators];
  }

  /** A gradient for some rows. */
  gradient() {
    const random = this.#random;
    const rows = this.#table.shape[0];
    const indices = Uint32Array.from({ length: random.below(300) }, () => random.zipf(rows));
    const values = new Float32Array(indices.length * WATCHED_WIDTH);
    for (let i = 0; i < indices.length; i++) {
      const at = i * WATCHED_WIDTH;
      values.fill(random.next() - 0.5, at + 1, at + WATCHED_WIDTH);
    }
    return { indices, values };
  }

  /** Up or down. */
  resize() {
    this.counts.resizes++;
    const before = this.#table.shape[0];
    return this.#table.resizeRows(1 + this.#random.below(MOST_ROWS), {
      initializer: ([rows]) => numbered(before, rows),
    });
  }

  /** Looks at some rows of each array while steps may run. @throws when one is not whole */
  look() {
    for (const [k, array] of this.read.entries()) {
      const rows = this.#someRows();
      checkRows(array.name, array.gather(rows), rows, k < 2);
    }
  }

  /** Rows as the steps so far have left them. @returns {Promise<import("@shardgrad/core").Variable["data"]>} */
  async gather() {
    const rows = this.#someRows();
    const array = this.read[this.#random.below(2)];
    const values = await array.gatherAsync(rows);
    checkRows(array.name, values, rows, true);
    return values;
  }

  /** Gives the table away, under its readers' eyes, and makes another. */
  startAnew() {
    this.dispose();
    this.#make();
  }

  dispose() {
    this.#optimizer.dispose();
    this.#table.dispose();
  }

  #make() {
    const runtime = this.#runtime;
    this.#table = new Variable(([rows]) => numbered(0, rows), {
      ...{ shape: [FIRST_ROWS, WATCHED_WIDTH], name: "watched", runtime },
    });
    // Averages of integers with this momentum are exact, so that the numbers stay.
    const averages = { useEma: true, emaMomentum: 0.5, emaOverwriteFrequency: 7, sparseEma: "lazy" };
    this.#optimizer = new Adagrad({ learningRate: 0.05, ...averages, runtime });
    this.#optimizer.build([this.#table]);
  }

  #someRows() {
    this.counts.gathers++;
    const rows = this.#table.shape[0];
    return Uint32Array.from({ length: 50 }, () => this.#random.below(rows));
  }
}

/** Rows from a number on. @param {number} first @param {number} rows */
function numbered(first, rows) {
  const values = new Float32Array(rows * WATCHED_WIDTH);
  for (let row = 0; row < rows; row++) values[row * WATCHED_WIDTH] = first + row;
  return values;
}

/**
 * What is wrong with rows that were read, or undefined.
 * @param {ArrayLike<number>} values @param {ArrayLike<number>} rows @param {boolean} isNumbered
 */
export function wrongRow(values, rows, isNumbered) {
  for (let i = 0; i < rows.length; i++) {
    const at = i * WATCHED_WIDTH;
    for (let k = 2; k < WATCHED_WIDTH; k++)
      if (values[at + k] !== values[at + 1]) return `row ${rows[i]} is torn at element ${k}`;
    // An average of many steps may round.
    if (isNumbered && !(Math.abs(values[at] - rows[i]) < 0.5))
      return `row ${rows[i]} has the number ${values[at]}`;
  }
  return undefined;
}

/** @param {string} name @param {ArrayLike<number>} values @param {ArrayLike<number>} rows @param {boolean} isNumbered */
function checkRows(name, values, rows, isNumbered) {
  const wrong = wrongRow(values, rows, isNumbered);
  if (wrong !== undefined) throw new Error(`${name}, read on the main thread: ${wrong}`);
}
