/** The model: a factorization machine in two Shardgrad variables, trained by sparse Adagrad. */
import { Adagrad, HashedIds, type Runtime, Variable } from "@shardgrad/core";
import { fieldCount, pairedFields, rowsOf } from "./features.js";
import type { Flight, LandedFlight } from "./flights.js";
import { gradientOf, type Layout, logistic, scoreEvents } from "./machine.js";

export interface ModelOptions {
  /** Rows of the table. */
  readonly buckets: number;
  /** Floats of a row beside its weight. */
  readonly factors: number;
  readonly learningRate: number;
  readonly initialAccumulatorValue: number;
  /** Standard deviation of the initial factors; the weights begin at 0. */
  readonly initialDeviation: number;
  readonly seed: number;
  /** Most events of one step. */
  readonly maxBatch: number;
}

export const defaultModel: ModelOptions = {
  buckets: 2 ** 18,
  factors: 8,
  learningRate: 0.07,
  initialAccumulatorValue: 0.1,
  initialDeviation: 0.02,
  seed: 1,
  maxBatch: 1024,
};

export class Model {
  readonly options: ModelOptions;
  readonly optimizer: Adagrad;
  readonly table: Variable;
  readonly bias: Variable;
  readonly #ids: HashedIds;
  readonly #layout: Layout;
  readonly #gradient: Float32Array;
  readonly #runtime: Runtime;

  constructor(runtime: Runtime, options: ModelOptions = defaultModel) {
    const { buckets, factors, initialDeviation, seed } = options;
    this.options = options;
    this.#runtime = runtime;
    const rowSize = 1 + factors;
    this.#layout = { rowSize, fields: fieldCount, paired: pairedFields };
    this.#ids = new HashedIds({ buckets, seed });
    const shape = [buckets, rowSize];
    this.table = Variable.normal(shape, { stddev: initialDeviation, seed, runtime, name: "table" });
    const values = this.table.data as Float32Array;
    for (let row = 0; row < buckets; row++) values[row * rowSize] = 0;
    this.bias = Variable.zeros([1], { runtime, name: "bias" });
    // A gradient that lies in the runtime's own memory is applied where it is, without a copy.
    this.#gradient = runtime.allocate([options.maxBatch * fieldCount, rowSize], "float32", {
      near: this.table,
    }) as Float32Array;
    this.optimizer = new Adagrad({
      learningRate: options.learningRate,
      // A step's flights share most of their rows. Summed first, they move a row once; with every slice squared for
      // itself, Keras' way, a row that many share moves further, and the best learning rate is smaller.
      duplicateIndices: "perRow",
      initialAccumulatorValue: options.initialAccumulatorValue,
      runtime,
    });
  }

  /** Makes the slots, which the first step would do otherwise; `iterations` counts the steps taken before. */
  build(iterations = 0): void {
    this.optimizer.iterations = iterations;
    this.optimizer.build([this.table, this.bias]);
  }

  rowsOf(flights: readonly Flight[]): Int32Array {
    return rowsOf(flights, this.#ids);
  }

  /**
   * Scores by the rows as they are now. Predictions read the variables here and nowhere else, while a step may be writing
   * them: `gather` copies rows that are whole. The bias is one number, which is whole anyway; a `gather` of it would wait
   * for the step, whose gradient of it is dense.
   */
  #read(rows: Int32Array): Float64Array {
    const copies = this.table.gather<Float32Array>(rows);
    const places = rows.map((_, i) => i);
    return scoreEvents(copies, this.bias.data[0]!, places, this.#layout);
  }

  /** Probabilities that the flights will be late. */
  predict(flights: readonly Flight[]): Float64Array {
    return this.#read(this.rowsOf(flights)).map(logistic);
  }

  /**
   * One step on a batch. Resolves to the probabilities before the step, so that an event is judged by a model that
   * has not learned it. One step at a time: the next may be called when this one has settled.
   */
  async learn(flights: readonly LandedFlight[]): Promise<Float64Array> {
    const { maxBatch } = this.options;
    if (flights.length === 0 || flights.length > maxBatch) {
      throw new RangeError(`A step takes 1 to ${maxBatch} events, not ${flights.length}`);
    }
    const rows = this.rowsOf(flights);
    const scores = this.#read(rows);
    const labels = flights.map(({ late }) => Number(late));
    const values = this.#gradient.subarray(0, rows.length * this.#layout.rowSize);
    const table = this.table.data as Float32Array;
    const bias = gradientOf(table, rows, this.#layout, scores, labels, values);
    await this.optimizer.applyGradients([
      [{ indices: rows, values }, this.table],
      [Float32Array.of(bias), this.bias],
    ]);
    return scores.map(logistic);
  }

  /** Gives the gradient's memory back; the variables stay readable. */
  dispose(): void {
    this.#runtime.release(this.#gradient);
  }
}
