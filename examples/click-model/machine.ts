/**
 * The arithmetic of a factorization machine (Rendle 2010) for events whose features are all 1. A row of the table is
 * [w, v1 … vk]; the score of an event is
 *
 *   bias + sum of w + sum over pairs of rows of <v, v'>
 *
 * where only the first fields of an event form pairs: the others are crosses already. The probability is the score's
 * logistic function. The pairs cost no more than the rows: their sum is half of |sum of v|² − sum of |v|².
 */

export function logistic(score: number): number {
  return 1 / (1 + Math.exp(-score));
}

/** How the rows of events lie one after the other. */
export interface Layout {
  /** Floats of a row of the table. */
  readonly rowSize: number;
  /** Rows of an event. */
  readonly fields: number;
  /** How many of them, from the first on, form pairs. */
  readonly paired: number;
}

/** The scores of the events whose rows are given. */
export function scoreEvents(
  table: Float32Array,
  bias: number,
  rows: Int32Array,
  layout: Layout,
): Float64Array {
  const { rowSize, fields, paired } = layout;
  const scores = new Float64Array(rows.length / fields);
  for (let event = 0; event < scores.length; event++) {
    const first = event * fields;
    let score = bias;
    for (let i = first; i < first + fields; i++) score += table[rows[i]! * rowSize]!;
    for (let k = 1; k < rowSize; k++) {
      let sum = 0;
      let squares = 0;
      for (let i = first; i < first + paired; i++) {
        const value = table[rows[i]! * rowSize + k]!;
        sum += value;
        squares += value * value;
      }
      score += (sum * sum - squares) / 2;
    }
    scores[event] = score;
  }
  return scores;
}

/**
 * The gradient of the events' summed log loss: one row for each of theirs, written to `values`. That of the bias is
 * returned. d loss / d score is probability - label, d score / d w is 1, and d score / d v is the sum of the other
 * paired rows' v.
 */
export function gradientOf(
  table: Float32Array,
  rows: Int32Array,
  layout: Layout,
  scores: Float64Array,
  labels: ArrayLike<number>,
  values: Float32Array,
): number {
  const { rowSize, fields, paired } = layout;
  const sums = new Float64Array(rowSize);
  let biasGradient = 0;
  for (let event = 0; event < scores.length; event++) {
    const first = event * fields;
    const error = logistic(scores[event]!) - labels[event]!;
    biasGradient += error;
    sums.fill(0);
    for (let i = first; i < first + paired; i++) {
      for (let k = 1; k < rowSize; k++) sums[k]! += table[rows[i]! * rowSize + k]!;
    }
    for (let i = first; i < first + fields; i++) {
      const out = i * rowSize;
      values[out] = error;
      const isPaired = i < first + paired;
      for (let k = 1; k < rowSize; k++) {
        values[out + k] = isPaired ? error * (sums[k]! - table[rows[i]! * rowSize + k]!) : 0;
      }
    }
  }
  return biasGradient;
}
