/** Log loss and AUC over a stream, in constant memory. */

const bins = 4096;
const smallest = 1e-7;

/** The log loss of one event; a probability of 0 or 1 that is wrong costs much, but not everything. */
export function logLossOf(probability: number, late: boolean): number {
  const p = Math.min(Math.max(probability, smallest), 1 - smallest);
  return -Math.log(late ? p : 1 - p);
}

/**
 * Counts of probabilities in bins 1/4096 wide. The AUC, the chance that a late flight has a higher probability than
 * one in time, is that of the probabilities rounded to these bins: two in one bin count as a tie, that is half.
 */
export class Scores {
  readonly #late = new Float64Array(bins);
  readonly #inTime = new Float64Array(bins);
  #loss = 0;
  #count = 0;
  #lates = 0;

  add(probability: number, late: boolean): void {
    this.#change(probability, late, 1);
  }

  /** Takes back what was added before, for a window that moves. */
  remove(probability: number, late: boolean): void {
    this.#change(probability, late, -1);
  }

  #change(probability: number, late: boolean, by: 1 | -1): void {
    const bin = Math.min(bins - 1, Math.floor(probability * bins));
    if (late) {
      this.#late[bin]! += by;
      this.#lates += by;
    } else this.#inTime[bin]! += by;
    this.#loss += by * logLossOf(probability, late);
    this.#count += by;
  }

  get count(): number {
    return this.#count;
  }

  /** Mean log loss; undefined without events. */
  get logLoss(): number | undefined {
    return this.#count === 0 ? undefined : this.#loss / this.#count;
  }

  /** Share of late flights; undefined without events. */
  get rate(): number | undefined {
    return this.#count === 0 ? undefined : this.#lates / this.#count;
  }

  /** Undefined while only one outcome has been seen. */
  get auc(): number | undefined {
    const pairs = this.#lates * (this.#count - this.#lates);
    if (pairs === 0) return undefined;
    let below = 0;
    let won = 0;
    for (let bin = 0; bin < bins; bin++) {
      won += this.#late[bin]! * (below + this.#inTime[bin]! / 2);
      below += this.#inTime[bin]!;
    }
    return won / pairs;
  }
}

/** The scores of the last `size` events. */
export class WindowScores {
  readonly scores = new Scores();
  readonly #probabilities: Float64Array;
  readonly #late: Uint8Array;
  #next = 0;

  constructor(size: number) {
    this.#probabilities = new Float64Array(size);
    this.#late = new Uint8Array(size);
  }

  add(probability: number, late: boolean): void {
    const at = this.#next % this.#late.length;
    if (this.#next >= this.#late.length) this.scores.remove(this.#probabilities[at]!, this.#late[at] === 1);
    this.#probabilities[at] = probability;
    this.#late[at] = Number(late);
    this.scores.add(probability, late);
    this.#next++;
  }
}
