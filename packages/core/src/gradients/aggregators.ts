import {
  type DType,
  doubleFromHalf,
  dtypeInfo,
  halfFromDouble,
  type TypedArray,
  viewOf,
} from "@shardgrad/workers";
import { ArgumentError, OptionError, StateError } from "../errors/index.js";
import { rowSizeOf, writeNumbers } from "../variable/values.js";
import type { Variable } from "../variable/variable.js";
import { type CheckedGradient, checkGradient, type Gradient, type GradientPair } from "./gradient.js";
import { pairList } from "./pairs.js";

/** Combines the gradients of several replicas before a step: summed, not averaged, as Keras does. */
export interface GradientAggregator {
  /** Pairs for the step, from the pairs given to `applyGradients`. */
  aggregateGradients(pairs: readonly GradientPair[]): readonly GradientPair[];
  /** Called when the step that used the result has been applied. */
  stepApplied?(): void;
}

/**
 * Sums the gradients of replicas that live in one process. All replicas but the last `contribute`; the last one
 * gives its pairs to `applyGradients`, and the step uses the sum, in the order of the contributions. Dense
 * gradients are added element by element in the variable's dtype; indexed slices are joined; where the two
 * meet, the slices are added into the dense gradient.
 *
 * @example
 * import { Adagrad, InProcessAggregator, Variable } from "@shardgrad/core";
 * const weights = Variable.zeros([2]);
 * const aggregator = new InProcessAggregator({ replicas: 2 });
 * const optimizer = new Adagrad({ aggregator });
 * aggregator.contribute([[[1, 2], weights]]);
 * await optimizer.applyGradients([[[3, 4], weights]]); // a step with [4, 6]
 * console.log(optimizer.iterations, aggregator.pending); // 1 0
 */
export class InProcessAggregator implements GradientAggregator {
  /** Replicas whose gradients make a step. */
  readonly replicas: number;
  #contributions: (readonly GradientPair[])[] = [];

  /** @throws OptionError unless `replicas` is an integer of 1 or more */
  constructor(options: { readonly replicas: number }) {
    const replicas = (options as { readonly replicas: number } | null | undefined)?.replicas as number;
    if (!Number.isSafeInteger(replicas) || replicas < 1) {
      throw new OptionError({ argument: "replicas", received: replicas, expected: "an integer, 1 or more" });
    }
    this.replicas = replicas;
  }

  /** Contributions that wait for the step. */
  get pending(): number {
    return this.#contributions.length;
  }

  /**
   * Hands in one replica's gradients. They are kept as they are until the step has been applied.
   * @throws StateError when all other replicas have contributed already, and as a step for bad gradients
   */
  contribute(pairs: Iterable<GradientPair>): void {
    if (this.pending >= this.replicas - 1) {
      throw new StateError(`All ${this.replicas - 1} other replicas have contributed; apply the step first.`);
    }
    const list = pairList(pairs);
    for (const [gradient, variable] of list) {
      if (gradient !== null && gradient !== undefined) checkGradient(gradient, variable);
    }
    this.#contributions.push(list);
  }

  /**
   * The sum of the contributions and of `pairs`. Source: Keras 2.9.0 `Optimizer.aggregate_gradients`.
   * @throws StateError while contributions are missing, ArgumentError for replicas with other variables
   */
  aggregateGradients(pairs: readonly GradientPair[]): GradientPair[] {
    if (this.pending !== this.replicas - 1) {
      throw new StateError(`${this.pending} of ${this.replicas - 1} other replicas have contributed.`);
    }
    const lists = [...this.#contributions, pairs];
    return pairs.map(([, variable], position) => {
      const gradients = lists.map((list) => gradientOf(list, variable, position));
      return [sumGradients(gradients, variable), variable] as const;
    });
  }

  /** Forgets the contributions: a step has used them, or none can, as a table has other rows by now. */
  stepApplied(): void {
    this.#contributions = [];
  }
}

function gradientOf(list: readonly GradientPair[], variable: Variable, position: number): Gradient | null {
  const pair = list[position]?.[1] === variable ? list[position] : list.find((item) => item[1] === variable);
  if (pair === undefined) {
    const expected = `a pair for ${variable.name} from every replica (null where it has no gradient)`;
    throw new ArgumentError({ argument: "pairs", received: list, expected });
  }
  return pair[0] ?? null;
}

/** The sum of one variable's gradients; null when all are null. */
function sumGradients(gradients: readonly (Gradient | null)[], variable: Variable): Gradient | null {
  const checked = gradients.filter((g) => g !== null).map((g) => checkGradient(g, variable));
  if (checked.length <= 1) return gradients.find((g) => g !== null) ?? null;
  return checked.every((g) => g.kind === "slices") ? joined(checked, variable) : added(checked, variable);
}

/** Slices one after another, duplicates kept: the step's own rule for duplicates applies. */
function joined(slices: readonly CheckedGradient[], variable: Variable): Gradient {
  const parts = slices.filter((part) => part.kind === "slices");
  const count = parts.reduce((sum, { indices }) => sum + indices.length, 0);
  const indices = new Uint32Array(count);
  const values = emptyArray(variable.dtype, count * rowSizeOf(variable.shape));
  let slice = 0;
  let element = 0;
  for (const part of parts) {
    indices.set(part.indices, slice);
    values.set(typed(part.values, variable.dtype), element);
    slice += part.indices.length;
    element += part.values.length;
  }
  return { indices, values };
}

function added(parts: readonly CheckedGradient[], variable: Variable): TypedArray {
  const { dtype } = variable;
  const rowSize = rowSizeOf(variable.shape);
  const sum = emptyArray(dtype, variable.size);
  let first = true;
  for (const part of parts) {
    const values = typed(part.values, dtype);
    if (part.kind === "dense") {
      // A copy first, so that a single negative zero stays one.
      if (first) sum.set(values);
      else add(dtype, sum, values);
    } else {
      part.indices.forEach((row, slice) => {
        const target = sum.subarray(row * rowSize, (row + 1) * rowSize);
        add(dtype, target, values.subarray(slice * rowSize, (slice + 1) * rowSize));
      });
    }
    first = false;
  }
  return sum;
}

/** target += source, each sum rounded to the dtype. */
function add(dtype: DType, target: TypedArray, source: TypedArray): void {
  for (let i = 0; i < target.length; i++) {
    target[i] =
      dtype === "float16"
        ? halfFromDouble(doubleFromHalf(target[i]!) + doubleFromHalf(source[i]!))
        : target[i]! + source[i]!;
  }
}

function typed(values: TypedArray | readonly number[], dtype: DType): TypedArray {
  if (ArrayBuffer.isView(values)) return values;
  const array = emptyArray(dtype, values.length);
  writeNumbers(dtype, array, values);
  return array;
}

function emptyArray(dtype: DType, length: number): TypedArray {
  return viewOf(dtype, new ArrayBuffer(length * dtypeInfo[dtype].bytes), 0, length);
}
