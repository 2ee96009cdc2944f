/** What the model has to beat: the running rate of late flights, and a logistic regression in plain JavaScript. */
import { fieldCount } from "./features.js";
import { logistic } from "./machine.js";

/** The share of late flights so far. */
export class ConstantBaseline {
  #late = 0;
  #count = 0;

  predict(): number {
    // One late and one in time were seen before, so that the first probability is neither 0 nor 1.
    return (this.#late + 1) / (this.#count + 2);
  }

  learn(late: boolean): void {
    this.#count++;
    if (late) this.#late++;
  }
}

/**
 * Logistic regression on the same hashed features, by Adagrad. A step takes one event or several; the gradients that
 * a row gets from several are summed first, as `duplicateIndices: "perRow"` does.
 */
export class PlainLogisticRegression {
  readonly #weights: Float64Array;
  readonly #squares: Float64Array;
  /** The step's gradient, all zeros between steps. */
  readonly #sums: Float64Array;
  readonly #rate: number;

  constructor({
    buckets,
    learningRate,
    initialAccumulatorValue = 0.1,
  }: {
    readonly buckets: number;
    readonly learningRate: number;
    readonly initialAccumulatorValue?: number;
  }) {
    // The last weight is the bias.
    this.#weights = new Float64Array(buckets + 1);
    this.#squares = new Float64Array(buckets + 1).fill(initialAccumulatorValue);
    this.#sums = new Float64Array(buckets + 1);
    this.#rate = learningRate;
  }

  /** The probability of the event whose rows begin at `offset`. */
  predict(rows: Int32Array, offset: number): number {
    let score = this.#weights.at(-1)!;
    for (let i = offset; i < offset + fieldCount; i++) score += this.#weights[rows[i]!]!;
    return logistic(score);
  }

  /** One step for the events whose rows lie one after the other. */
  learn(rows: Int32Array, late: readonly boolean[]): void {
    const bias = this.#weights.length - 1;
    for (let event = 0; event < late.length; event++) {
      const offset = event * fieldCount;
      const error = this.predict(rows, offset) - Number(late[event]);
      for (let i = offset; i < offset + fieldCount; i++) this.#sums[rows[i]!]! += error;
      this.#sums[bias]! += error;
    }
    for (const row of rows) this.#step(row);
    this.#step(bias);
  }

  /** A row that comes again has no gradient left, so that it does not move again. */
  #step(row: number): void {
    const gradient = this.#sums[row]!;
    this.#sums[row] = 0;
    this.#squares[row]! += gradient * gradient;
    this.#weights[row]! -= (this.#rate * gradient) / Math.sqrt(this.#squares[row]!);
  }
}
