import type { TypedArray } from "@shardgrad/workers";
import { ArgumentError, DtypeError, formatReceived, IndexError, ShapeError } from "../errors/index.js";
import { bitsOf, dtypeOfArray, flatten, type NestedArray, shapeOfNested } from "../variable/values.js";
import type { Variable } from "../variable/variable.js";
import { type IndexedSlicesLike, isIndexedSlices, type RowIndices } from "./indexed-slices.js";
import { isTensor, type TensorLike } from "./tensor.js";

/**
 * A dense gradient of the variable's shape, or indexed slices of its rows. Tensors of tfjs are taken by steps only, which
 * give arrays to aggregators.
 */
export type Gradient = TypedArray | NestedArray | TensorLike | IndexedSlicesLike;

/** Null: the variable takes no part in the step. */
export type GradientPair = readonly [gradient: Gradient | null | undefined, variable: Variable];

/** A gradient that fits its variable; nothing of it can fail any more. */
export type CheckedGradient =
  | { readonly kind: "dense"; readonly values: TypedArray | readonly number[] }
  | {
      readonly kind: "slices";
      /** A private copy: a thread that changes the caller's array later cannot reach rows that do not exist. */
      readonly indices: Uint32Array;
      readonly values: TypedArray | readonly number[];
    };

/** @throws ShapeError, DtypeError, IndexError, ArgumentError: the gradient does not fit the variable, or is a tensor. */
export function checkGradient(gradient: Gradient, variable: Variable): CheckedGradient {
  // The usual case at once. A getter of typed arrays says which they are, so what looks like one is not taken for it.
  if (ArrayBuffer.isView(gradient) && fits(gradient, variable)) return { kind: "dense", values: gradient };
  if (isIndexedSlices(gradient)) return checkSlices(gradient, variable);
  const argument = `gradient of ${variable.name}`;
  return { kind: "dense", values: checkValues(gradient, variable.shape, variable, argument) };
}

/** Whether an array has the variable's dtype and size; false for a Float16Array, whose bits are taken. */
function fits(array: TypedArray, { dtype, size }: Variable): boolean {
  const tag = (array as unknown as Record<symbol, string>)[Symbol.toStringTag];
  return tag === tags[dtype] && array.length === size;
}

const tags = { float32: "Float32Array", float64: "Float64Array", float16: "Uint16Array" };

function checkSlices(slices: IndexedSlicesLike, variable: Variable): CheckedGradient {
  const { shape, name } = variable;
  const argument = `indices of the gradient of ${name}`;
  if (shape.length === 0) {
    throw new ShapeError({
      argument,
      received: slices,
      expected: "a dense gradient, as the variable is a scalar",
    });
  }
  if (slices.denseShape !== undefined && slices.denseShape.join() !== shape.join()) {
    const expected = `the shape [${shape.join(", ")}] of the variable`;
    throw new ShapeError({
      argument: `denseShape of the gradient of ${name}`,
      received: slices.denseShape,
      expected,
    });
  }
  const indices = checkIndices(slices.indices, shape[0]!, argument);
  const valuesShape = [indices.length, ...shape.slice(1)];
  const values = checkValues(slices.values, valuesShape, variable, `values of the gradient of ${name}`);
  return { kind: "slices", indices, values };
}

function checkValues(
  values: unknown,
  shape: readonly number[],
  variable: Variable,
  argument: string,
): TypedArray | readonly number[] {
  let size = 1;
  for (const dimension of shape) size *= dimension;
  if (ArrayBuffer.isView(values)) {
    if (dtypeOfArray(values) !== variable.dtype) {
      const expected = `values of dtype ${variable.dtype}, the variable's`;
      throw new DtypeError({ argument, received: values, expected });
    }
    const array = bitsOf(values as unknown as TypedArray);
    if (array.length === size) return array;
    const expected = `${size} elements for shape [${shape.join(", ")}], not ${array.length}`;
    throw new ShapeError({ argument, received: values, expected });
  }
  if (typeof values !== "number" && !Array.isArray(values)) {
    const expected = isTensor(values)
      ? "an array (`await tensor.data()`): only steps take tensors"
      : "a typed array, nested arrays or indexed slices";
    throw new ArgumentError({ argument, received: values, expected });
  }
  const own = shapeOfNested(values as NestedArray);
  // Empty nested arrays cannot show the dimensions behind a zero.
  if (own.join() !== shape.join() && !(size === 0 && own[0] === shape[0])) {
    const expected = `shape [${shape.join(", ")}], not [${own.join(", ")}]`;
    throw new ShapeError({ argument, received: values, expected });
  }
  return flatten(values as NestedArray, own, argument);
}

/** The row numbers that there are, in words. */
export function rowNumbers(rows: number): string {
  return rows === 0 ? "no row numbers, as there are no rows" : `integers from 0 to ${rows - 1}`;
}

/** A copy of the row numbers, each an integer from 0 up to the number of rows. */
export function checkIndices(indices: RowIndices | TensorLike, rows: number, argument: string): Uint32Array {
  const expected = rowNumbers(rows);
  const refuse = (position: number, received: unknown): never => {
    const message = `\`${argument}\`: expected ${expected}, got ${formatReceived(received)} at position ${position}`;
    throw new IndexError({ argument, received, expected, message });
  };
  if (indices instanceof BigInt64Array) {
    return Uint32Array.from(indices, (v, i) => (v >= 0n && v < BigInt(rows) ? Number(v) : refuse(i, v)));
  }
  if (indices instanceof Int32Array || indices instanceof Uint32Array) {
    const copy = new Uint32Array(indices);
    // As unsigned numbers, negative indices are larger than any number of rows that memory can hold.
    for (let i = 0; i < copy.length; i++) if (copy[i]! >= rows) refuse(i, indices[i]);
    return copy;
  }
  if (!Array.isArray(indices)) {
    throw new DtypeError({
      argument,
      received: indices,
      expected: isTensor(indices)
        ? "an array (`await tensor.data()`): only steps take tensors"
        : "an Int32Array, Uint32Array, BigInt64Array or array of integers",
    });
  }
  const copy = new Uint32Array(indices.length);
  for (let i = 0; i < copy.length; i++) {
    const row = indices[i] as number;
    if (!Number.isInteger(row) || row < 0 || row >= rows) refuse(i, row);
    copy[i] = row;
  }
  return copy;
}
