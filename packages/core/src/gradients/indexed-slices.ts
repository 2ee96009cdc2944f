import type { TypedArray } from "@shardgrad/workers";
import { ArgumentError, ShapeError } from "../errors/index.js";
import { checkShape, type NestedArray } from "../variable/values.js";
import { isTensor, type TensorLike } from "./tensor.js";

/** Row numbers of a sparse gradient. */
export type RowIndices = Int32Array | Uint32Array | BigInt64Array | readonly number[];

/** What a step takes as a sparse gradient: an IndexedSlices, or any object with these properties. */
export interface IndexedSlicesLike {
  readonly indices: RowIndices | TensorLike;
  readonly values: TypedArray | NestedArray | TensorLike;
  readonly denseShape?: readonly number[] | undefined;
}

/**
 * A sparse gradient, after TensorFlow's tf.IndexedSlices: `values` row k belongs to row `indices[k]` of the
 * variable. A row may be named more than once; the optimizer's `duplicateIndices` says what that means.
 *
 * @example
 * import { Adagrad, IndexedSlices, Variable } from "@shardgrad/core";
 * const gradient = new IndexedSlices({ indices: [4, 1], values: [[0.1, 0.2], [0.3, 0.4]] });
 * const table = Variable.zeros([10, 2]);
 * await new Adagrad().applyGradients([[gradient, table]]); // rows 1 and 4 change, the others do not
 * console.log(table.data[2] < 0, table.data[4]); // true 0
 */
export class IndexedSlices implements IndexedSlicesLike {
  /** k row numbers; of a tensor int32. */
  readonly indices: RowIndices | TensorLike;
  /**
   * k rows: a typed array of the variable's dtype with k times the row size elements, nested arrays, or a tensor of
   * float32 and shape [k, ...], the variable's further dimensions.
   */
  readonly values: TypedArray | NestedArray | TensorLike;
  /** Shape of the variable; checked in a step when given. */
  readonly denseShape?: readonly number[];

  /** @throws ArgumentError, ShapeError. What depends on the variable is checked by the step that uses it. */
  constructor(slices: IndexedSlicesLike) {
    if (typeof slices !== "object" || slices === null) {
      const expected = "an object with indices and values";
      throw new ArgumentError({ argument: "slices", received: slices, expected });
    }
    const { indices, values, denseShape } = slices;
    if (!Array.isArray(indices) && !ArrayBuffer.isView(indices) && !isTensor(indices)) {
      const expected = "an Int32Array, Uint32Array, BigInt64Array, array of numbers or tensor";
      throw new ArgumentError({ argument: "indices", received: indices, expected });
    }
    if (!Array.isArray(values) && !ArrayBuffer.isView(values) && !isTensor(values)) {
      throw new ArgumentError({
        argument: "values",
        received: values,
        expected: "a typed array, nested arrays or a tensor",
      });
    }
    const count = isTensor(indices) ? indices.shape[0] : indices.length;
    const rows = isTensor(values) ? values.shape[0] : Array.isArray(values) ? values.length : undefined;
    if (rows !== undefined && rows !== count) {
      throw new ShapeError({
        argument: "values",
        received: values,
        expected: `${count} rows, one for each index`,
      });
    }
    this.indices = indices;
    this.values = values;
    if (denseShape !== undefined) {
      checkShape(denseShape, "denseShape");
      this.denseShape = denseShape;
    }
  }
}

/** Structural, so that slices of another copy of this package are recognized. */
export function isIndexedSlices(value: unknown): value is IndexedSlicesLike {
  return typeof value === "object" && value !== null && "indices" in value && "values" in value;
}
