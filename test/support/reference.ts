import { roundHalf } from "./half.js";

/**
 * The optimizer as semantics.md tells it, one plain loop an operation, every elementary operation rounded to
 * the variable's dtype. The oracle of the property and contract tests; itself checked against the golden data.
 */

export type DTypeName = "float32" | "float64" | "float16";

/** Rounds a double to the dtype. A double operation rounded once more is exact for float32 and float16. */
export const rounding: Record<DTypeName, (value: number) => number> = {
  float32: Math.fround,
  float64: (value) => value,
  float16: roundHalf,
};

export interface ReferenceOptions {
  learningRate?: number | ((iterations: number) => number);
  initialAccumulatorValue?: number;
  epsilon?: number;
  clipnorm?: number | null;
  clipvalue?: number | null;
  globalClipnorm?: number | null;
  useEma?: boolean;
  emaMomentum?: number;
  emaOverwriteFrequency?: number | null;
  duplicateIndices?: "perSlice" | "perRow";
  accumulator?: "elementwise" | "rowwise";
}

export type ReferenceGradient =
  | { readonly dense: ArrayLike<number> }
  | { readonly indices: ArrayLike<number>; readonly values: ArrayLike<number> };

export class ReferenceVariable {
  values: Float64Array;
  shape: readonly number[];
  /** Whether there are an accumulator and an average. */
  built = false;
  accumulator = new Float64Array(0);
  average = new Float64Array(0);
  readonly rowSize: number;

  constructor(
    readonly dtype: DTypeName,
    shape: readonly number[],
    initial: ArrayLike<number>,
  ) {
    this.shape = shape;
    this.values = Float64Array.from(initial, rounding[dtype]);
    this.rowSize = shape.slice(1).reduce((product, n) => product * n, 1);
  }
}

export class Reference {
  iterations = 0;
  learningRate: number;
  readonly #options: ReferenceOptions;

  constructor(options: ReferenceOptions = {}) {
    this.#options = options;
    const { learningRate = 0.001 } = options;
    this.learningRate = Math.fround(typeof learningRate === "number" ? learningRate : learningRate(0));
  }

  step(pairs: readonly (readonly [ReferenceGradient | null, ReferenceVariable])[]): void {
    const { learningRate, useEma, emaOverwriteFrequency } = this.#options;
    if (typeof learningRate === "function") this.learningRate = Math.fround(learningRate(this.iterations));
    const present = pairs.filter((pair) => pair[0] !== null) as [ReferenceGradient, ReferenceVariable][];
    for (const [, variable] of present) this.#build(variable);
    for (const [gradient, variable] of this.#clip(present)) this.#update(gradient, variable);
    this.iterations++;
    if (!useEma) return;
    for (const [, variable] of present) {
      this.#average(variable);
      if (emaOverwriteFrequency && this.iterations % emaOverwriteFrequency === 0) {
        variable.values.set(variable.average);
      }
    }
  }

  #build(variable: ReferenceVariable): void {
    if (variable.built) return;
    variable.built = true;
    const initial = this.#initialAccumulator(variable);
    const rows = variable.shape[0] ?? 1;
    const count = this.#options.accumulator === "rowwise" ? rows : variable.values.length;
    variable.accumulator = new Float64Array(count).fill(initial);
    if (this.#options.useEma) variable.average = variable.values.slice();
  }

  /** Another number of rows; `added` has the numbers of those that come. */
  resize(variable: ReferenceVariable, rows: number, added: ArrayLike<number>): void {
    const { dtype, rowSize, shape } = variable;
    const fresh = Float64Array.from(added, rounding[dtype]);
    const resized = (old: Float64Array, more: ArrayLike<number>, width: number) =>
      Float64Array.from([...old.subarray(0, rows * width), ...Array.from(more)]);
    variable.shape = [rows, ...shape.slice(1)];
    variable.values = resized(variable.values, fresh, rowSize);
    if (!variable.built) return;
    const width = this.#options.accumulator === "rowwise" ? 1 : rowSize;
    const count = Math.max(0, rows - shape[0]!) * width;
    const sums = new Float64Array(count).fill(this.#initialAccumulator(variable));
    variable.accumulator = resized(variable.accumulator, sums, width);
    if (this.#options.useEma) variable.average = resized(variable.average, fresh, rowSize);
  }

  #initialAccumulator({ dtype }: ReferenceVariable): number {
    return rounding[dtype](this.#options.initialAccumulatorValue ?? 0.1);
  }

  #update(gradient: ReferenceGradient, variable: ReferenceVariable): void {
    if (this.#options.accumulator === "rowwise") {
      this.#updateRowwise(gradient, variable);
      return;
    }
    const round = rounding[variable.dtype];
    const { values, accumulator, rowSize } = variable;
    const rate = round(this.learningRate);
    const epsilon = round(this.#options.epsilon ?? 1e-7);
    const move = (i: number, g: number) => {
      const denominator = round(Math.sqrt(round(accumulator[i]! + epsilon)));
      values[i] = round(values[i]! - round(round(rate * g) / denominator));
    };
    if ("dense" in gradient) {
      for (let i = 0; i < values.length; i++) {
        const g = gradient.dense[i]!;
        accumulator[i] = round(accumulator[i]! + round(g * g));
        move(i, g);
      }
      return;
    }
    const perRow = this.#options.duplicateIndices === "perRow";
    const sums = new Map<number, Float64Array>(); // Keras adds the slices of a row to zeros, in list order
    for (let k = 0; k < gradient.indices.length; k++) {
      const row = gradient.indices[k]!;
      const sum = sums.get(row) ?? new Float64Array(rowSize);
      sums.set(row, sum);
      for (let j = 0; j < rowSize; j++) {
        const g = gradient.values[k * rowSize + j]!;
        const i = row * rowSize + j;
        if (!perRow) accumulator[i] = round(accumulator[i]! + round(g * g));
        sum[j] = round(sum[j]! + g);
      }
    }
    for (const [row, sum] of sums) {
      for (let j = 0; j < rowSize; j++) {
        const i = row * rowSize + j;
        if (perRow) accumulator[i] = round(accumulator[i]! + round(sum[j]! * sum[j]!));
        move(i, sum[j]!);
      }
    }
  }

  /** One accumulator element a row, which takes the mean of the row's squares. */
  #updateRowwise(gradient: ReferenceGradient, variable: ReferenceVariable): void {
    const round = rounding[variable.dtype];
    const { values, accumulator, rowSize } = variable;
    const rate = round(this.learningRate);
    const epsilon = round(this.#options.epsilon ?? 1e-7);
    const accumulate = (row: number, g: ArrayLike<number>) => {
      accumulator[row] = round(accumulator[row]! + round(meanSquare(g)));
    };
    const move = (row: number, g: ArrayLike<number>) => {
      const root = round(Math.sqrt(round(accumulator[row]! + epsilon)));
      for (let j = 0; j < rowSize; j++) {
        const i = row * rowSize + j;
        values[i] = round(values[i]! - round(round(rate * g[j]!) / root));
      }
    };
    const part = (all: ArrayLike<number>, k: number) =>
      Array.from({ length: rowSize }, (_, j) => all[k * rowSize + j]!);
    if ("dense" in gradient) {
      for (let row = 0; row * rowSize < values.length; row++) {
        accumulate(row, part(gradient.dense, row));
        move(row, part(gradient.dense, row));
      }
      return;
    }
    const perRow = this.#options.duplicateIndices === "perRow";
    const sums = new Map<number, number[]>();
    for (const [k, row] of Array.from(gradient.indices).entries()) {
      const slice = part(gradient.values, k);
      if (!perRow) accumulate(row, slice);
      const sum = sums.get(row) ?? slice.map(() => 0);
      sums.set(
        row,
        sum.map((value, j) => round(value + slice[j]!)),
      );
    }
    for (const [row, sum] of sums) {
      if (perRow) accumulate(row, sum);
      move(row, sum);
    }
  }

  #average(variable: ReferenceVariable): void {
    const round = rounding[variable.dtype];
    const momentum = this.#options.emaMomentum ?? 0.99;
    const keep = round(momentum);
    const take = round(1 - momentum);
    const { values, average } = variable;
    for (let i = 0; i < values.length; i++) {
      average[i] = round(round(keep * average[i]!) + round(take * values[i]!));
    }
  }

  #clip(pairs: [ReferenceGradient, ReferenceVariable][]): [ReferenceGradient, ReferenceVariable][] {
    const { clipnorm, globalClipnorm, clipvalue } = this.#options;
    if (clipnorm && clipnorm > 0) {
      return pairs.map(([gradient, variable]) => {
        const round = rounding[variable.dtype];
        const limit = round(clipnorm);
        const norm = round(Math.sqrt(round(sumOfSquares(gradient))));
        return [mapGradient(gradient, (g) => round(round(g * limit) / Math.max(norm, limit))), variable];
      });
    }
    if (globalClipnorm && globalClipnorm > 0) {
      const norm = Math.sqrt(pairs.reduce((sum, [gradient]) => sum + sumOfSquares(gradient), 0));
      return pairs.map(([gradient, variable]) => {
        const round = rounding[variable.dtype];
        const limit = round(globalClipnorm);
        const rounded = round(norm);
        const scale = round(limit * Math.min(round(1 / rounded), round(1 / limit)));
        const factor = Number.isFinite(rounded) ? scale : Number.NaN;
        return [mapGradient(gradient, (g) => round(g * factor)), variable];
      });
    }
    if (clipvalue && clipvalue > 0) {
      return pairs.map(([gradient, variable]) => {
        const limit = rounding[variable.dtype](clipvalue);
        return [mapGradient(gradient, (g) => Math.max(Math.min(g, limit), -limit)), variable];
      });
    }
    return pairs;
  }
}

function stored(gradient: ReferenceGradient): ArrayLike<number> {
  return "dense" in gradient ? gradient.dense : gradient.values;
}

function sumOfSquares(gradient: ReferenceGradient): number {
  let sum = 0;
  const values = stored(gradient);
  for (let i = 0; i < values.length; i++) sum += values[i]! * values[i]!;
  return sum;
}

/** Summed as docs/large-tables.md says: eight running sums, added in pairs, then what is left over. */
export function meanSquare(row: ArrayLike<number>): number {
  if (row.length === 0) return 0;
  const sums = new Float64Array(8);
  const whole = row.length - (row.length % 8);
  for (let i = 0; i < whole; i++) sums[i % 8]! += row[i]! * row[i]!;
  const pair = (lane: number) => sums[lane]! + sums[lane + 2]! + (sums[lane + 4]! + sums[lane + 6]!);
  let sum = pair(0) + pair(1);
  for (let i = whole; i < row.length; i++) sum += row[i]! * row[i]!;
  return sum / row.length;
}

function mapGradient(gradient: ReferenceGradient, f: (g: number) => number): ReferenceGradient {
  const mapped = Float64Array.from(stored(gradient), f);
  return "dense" in gradient ? { dense: mapped } : { indices: gradient.indices, values: mapped };
}
