import type { TypedArray } from "@shardgrad/workers";
import { DtypeError } from "../errors/index.js";
import type { Variable } from "../variable/variable.js";
import type { Gradient, GradientPair } from "./gradient.js";
import { checkTensor, checkTensorShape, HeldTensor, readSync, type TensorUse } from "./held-tensor.js";
import { type IndexedSlicesLike, isIndexedSlices, type RowIndices } from "./indexed-slices.js";
import { isTensor, type TensorLike } from "./tensor.js";

/** The tensors of one gradient. */
interface GradientTensors {
  /** Row numbers. */
  readonly indices?: HeldTensor;
  /** Of a dense gradient, or of slices. */
  readonly values?: HeldTensor;
}

/** Whether a gradient is a tensor or has some: arrays are passed by with one look at each. */
function hasTensors(gradient: Gradient | null | undefined): gradient is TensorLike | IndexedSlicesLike {
  if (typeof gradient !== "object" || gradient === null) return false;
  if (ArrayBuffer.isView(gradient) || Array.isArray(gradient)) return false;
  if (!isIndexedSlices(gradient)) return isTensor(gradient);
  return isTensor(gradient.indices) || isTensor(gradient.values);
}

/** The gradients of a call that are tensors, which it holds until `release`. */
export class TensorGradients {
  readonly #pairs: readonly GradientPair[];
  /** By position. */
  readonly #held: ReadonlyMap<number, GradientTensors>;

  private constructor(pairs: readonly GradientPair[], held: ReadonlyMap<number, GradientTensors>) {
    this.#pairs = pairs;
    this.#held = held;
  }

  /**
   * Takes the tensors among the gradients of a call; undefined when there are none.
   * @throws DtypeError, ArgumentError: none is held
   */
  static of(pairs: readonly GradientPair[]): TensorGradients | undefined {
    let held: Map<number, GradientTensors> | undefined;
    const hold = (value: unknown, use: TensorUse) =>
      isTensor(value) ? new HeldTensor(value, use) : undefined;
    try {
      for (let i = 0; i < pairs.length; i++) {
        const [gradient, variable] = pairs[i]!;
        if (!hasTensors(gradient)) continue;
        checkTensors(gradient, variable);
        const uses = usesOf(variable, gradient);
        const tensors: { -readonly [key in keyof GradientTensors]: HeldTensor } = {};
        held ??= new Map();
        held.set(i, tensors);
        const values = hold(isIndexedSlices(gradient) ? gradient.values : gradient, uses.values);
        if (values !== undefined) tensors.values = values;
        const indices = isIndexedSlices(gradient) ? hold(gradient.indices, uses.indices) : undefined;
        if (indices !== undefined) tensors.indices = indices;
      }
    } catch (error) {
      for (const tensors of held?.values() ?? []) release(tensors);
      throw error;
    }
    return held === undefined ? undefined : new TensorGradients(pairs, held);
  }

  /**
   * The pairs of the call with arrays for tensors.
   * @param copied - arrays of their own: what tfjs gives may be its own memory
   * @throws (rejects) GradientReadError
   */
  async arrays(copied: boolean): Promise<GradientPair[]> {
    const values = await Promise.all(this.#pairs.map((_, i) => this.#held.get(i)?.values?.values));
    const indices = await this.rowNumbers();
    return this.#pairs.map((_, i) => {
      const array = values[i];
      return this.#with(i, copied ? array?.slice() : array, indices[i]);
    });
  }

  /** The row numbers of those slices that have a tensor of them, by position. @throws (rejects) GradientReadError */
  rowNumbers(): Promise<(TypedArray | undefined)[]> {
    return Promise.all(this.#pairs.map((_, i) => this.#held.get(i)?.indices?.values));
  }

  /**
   * The pairs of the call with arrays that are still to be filled in place of tensors of values.
   * @param rowNumbers - what `rowNumbers` gave
   * @param arrayFor - gives the array for a tensor
   */
  pairsWith(
    rowNumbers: readonly (TypedArray | undefined)[],
    arrayFor: (held: HeldTensor, variable: Variable) => TypedArray,
  ): GradientPair[] {
    return this.#pairs.map((pair, i) => {
      const held = this.#held.get(i)?.values;
      return this.#with(i, held === undefined ? undefined : arrayFor(held, pair[1]), rowNumbers[i]);
    });
  }

  /** As `arrays`, at once, where tfjs can. @throws as `of` and `arrays`; nothing is held */
  static arraysSync(pairs: readonly GradientPair[], copied: boolean): readonly GradientPair[] {
    if (!pairs.some(([gradient]) => hasTensors(gradient))) return pairs;
    return pairs.map((pair) => {
      const [gradient, variable] = pair;
      if (!hasTensors(gradient)) return pair;
      checkTensors(gradient, variable);
      checkShapesOf(gradient, variable);
      const uses = usesOf(variable, gradient);
      const array = (value: unknown, use: TensorUse) => {
        if (!isTensor(value)) return value;
        const read = readSync(value, use);
        return copied ? read.slice() : read;
      };
      if (!isIndexedSlices(gradient)) return [array(gradient, uses.values) as TypedArray, variable];
      const indices = array(gradient.indices, uses.indices) as RowIndices;
      const values = array(gradient.values, uses.values) as TypedArray;
      return [{ ...slicesOf(gradient), indices, values }, variable];
    });
  }

  /** @throws ShapeError: a tensor does not fit its variable, which may have other rows than at the call */
  checkShapes(): void {
    for (const i of this.#held.keys()) {
      const [gradient, variable] = this.#pairs[i]!;
      checkShapesOf(gradient as TensorLike | IndexedSlicesLike, variable);
    }
  }

  /** Lets go of the tensors. */
  release(): void {
    for (const tensors of this.#held.values()) release(tensors);
  }

  /** A pair with arrays in place of its tensors. */
  #with(i: number, values: TypedArray | undefined, indices: TypedArray | undefined): GradientPair {
    const pair = this.#pairs[i]!;
    const [gradient, variable] = pair;
    if (!this.#held.has(i)) return pair;
    if (!isIndexedSlices(gradient)) return [values!, variable];
    const numbers = (indices ?? gradient.indices) as RowIndices;
    return [{ ...slicesOf(gradient), indices: numbers, values: values ?? gradient.values }, variable];
  }
}

function release({ values, indices }: GradientTensors): void {
  values?.release();
  indices?.release();
}

/** @throws DtypeError, ArgumentError */
function checkTensors(gradient: TensorLike | IndexedSlicesLike, variable: Variable): void {
  const uses = usesOf(variable, gradient);
  const values = isIndexedSlices(gradient) ? gradient.values : gradient;
  if (isTensor(values)) {
    if (variable.dtype !== "float32") {
      const expected = `values of dtype ${variable.dtype}, the variable's: tensors have float32 at most`;
      throw new DtypeError({ argument: uses.values.argument, received: values, expected });
    }
    checkTensor(values, uses.values);
  }
  if (isIndexedSlices(gradient) && isTensor(gradient.indices)) checkTensor(gradient.indices, uses.indices);
}

/** What arrays are not held to: a tensor has a shape of its own. */
function checkShapesOf(gradient: TensorLike | IndexedSlicesLike, variable: Variable): void {
  const { shape } = variable;
  const uses = usesOf(variable, gradient);
  if (!isIndexedSlices(gradient)) {
    checkTensorShape(gradient, shape, uses.values.argument);
    return;
  }
  const { indices, values } = gradient;
  const count = isTensor(indices) ? (indices.shape[0] ?? 0) : indices.length;
  if (isTensor(indices)) checkTensorShape(indices, [count], uses.indices.argument);
  // Slices of a scalar are refused with those of arrays.
  if (isTensor(values) && shape.length > 0) {
    checkTensorShape(values, [count, ...shape.slice(1)], uses.values.argument);
  }
}

function usesOf({ name }: Variable, gradient: Gradient): { values: TensorUse; indices: TensorUse } {
  const of = `gradient of ${name}`;
  return {
    values: { argument: isIndexedSlices(gradient) ? `values of the ${of}` : of, dtype: "float32" },
    indices: { argument: `indices of the ${of}`, dtype: "int32" },
  };
}

function slicesOf({ denseShape }: IndexedSlicesLike): Pick<IndexedSlicesLike, "denseShape"> {
  return denseShape === undefined ? {} : { denseShape };
}
