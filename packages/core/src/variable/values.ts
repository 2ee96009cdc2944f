import { type DType, doubleFromHalf, dtypeInfo, halfFromDouble, type TypedArray } from "@shardgrad/workers";
import { ArgumentError, DtypeError, ShapeError } from "../errors/index.js";

/** A number, or arrays of numbers nested to any depth, rectangular. */
export type NestedArray = number | readonly NestedArray[];

/** Kernels take row numbers as u32. */
export const MOST_ROWS = 2 ** 32 - 1;

/** Product of the dimensions; 1 for a scalar. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const dimension of shape) size *= dimension;
  return size;
}

/** Elements of one row: the product of all dimensions but the first. */
export function rowSizeOf(shape: readonly number[]): number {
  return sizeOf(shape.slice(1));
}

/** @throws ShapeError unless every dimension is a non-negative integer. */
export function checkShape(shape: unknown, argument: string): asserts shape is readonly number[] {
  const valid = Array.isArray(shape) && shape.every((d) => Number.isSafeInteger(d) && d >= 0);
  if (!valid || !Number.isSafeInteger(sizeOf(shape))) {
    throw new ShapeError({ argument, received: shape, expected: "an array of non-negative integers" });
  }
}

/** @throws DtypeError unless the value is one of the three dtypes. */
export function checkDtype(dtype: unknown, argument = "dtype"): asserts dtype is DType {
  if (typeof dtype !== "string" || !Object.hasOwn(dtypeInfo, dtype)) {
    const expected = '"float32", "float64" or "float16"';
    throw new DtypeError({ argument, received: dtype, expected });
  }
}

/**
 * The dtype that a typed array holds, or undefined for one that holds none. Uint16Array stands for float16 bit
 * patterns; Float16Array (Node 24 and later) is recognized by its tag, so that it need not exist.
 */
export function dtypeOfArray(array: ArrayBufferView): DType | undefined {
  switch ((array as unknown as Record<symbol, string>)[Symbol.toStringTag]) {
    case "Float32Array":
      return "float32";
    case "Float64Array":
      return "float64";
    case "Uint16Array":
    case "Float16Array":
      return "float16";
    default:
      return undefined;
  }
}

/** A Float16Array seen as bit patterns; other arrays unchanged. */
export function bitsOf(array: TypedArray): TypedArray {
  const tag = (array as unknown as Record<symbol, string>)[Symbol.toStringTag];
  if (tag !== "Float16Array") return array;
  return new Uint16Array(array.buffer, array.byteOffset, array.length);
}

/** The shape of nested arrays, read off their first items. */
export function shapeOfNested(values: NestedArray): number[] {
  const shape: number[] = [];
  let level: NestedArray = values;
  while (Array.isArray(level)) {
    shape.push(level.length);
    if (level.length === 0) break;
    level = (level as readonly NestedArray[])[0]!;
  }
  return shape;
}

/** The numbers of nested arrays in row-major order. @throws ShapeError unless they have exactly `shape`. */
export function flatten(values: NestedArray, shape: readonly number[], argument: string): number[] {
  const flat: number[] = [];
  const visit = (value: NestedArray, depth: number): void => {
    if (depth === shape.length) {
      if (typeof value === "number") flat.push(value);
      else if (Array.isArray(value)) throw raggedError(values, shape, argument);
      else throw new ArgumentError({ argument, received: value, expected: "numbers" });
      return;
    }
    if (!Array.isArray(value) || value.length !== shape[depth]) throw raggedError(values, shape, argument);
    for (const item of value as readonly NestedArray[]) visit(item, depth + 1);
  };
  visit(values, 0);
  return flat;
}

function raggedError(received: unknown, shape: readonly number[], argument: string): ShapeError {
  return new ShapeError({ argument, received, expected: `values of shape [${shape.join(", ")}]` });
}

/** A number rounded once to a dtype. */
export function roundTo(dtype: DType, value: number): number {
  if (dtype === "float64") return value;
  return dtype === "float32" ? Math.fround(value) : doubleFromHalf(halfFromDouble(value));
}

/** Writes numbers into an array of a dtype, rounding to it. */
export function writeNumbers(dtype: DType, target: TypedArray, source: ArrayLike<number>, from = 0): void {
  const count = target.length;
  if (dtype === "float16") for (let i = 0; i < count; i++) target[i] = halfFromDouble(source[from + i]!);
  else for (let i = 0; i < count; i++) target[i] = source[from + i]!;
}

/** Elements of an array of a dtype, as numbers. */
export function readNumbers(dtype: DType, source: TypedArray): number[] {
  if (dtype !== "float16") return Array.from(source);
  return Array.from(source, (bits) => doubleFromHalf(bits));
}

/** Nested arrays of a shape from flat numbers; a number for a scalar. */
export function nest(flat: readonly number[], shape: readonly number[]): NestedArray {
  let at = 0;
  const build = (depth: number): NestedArray => {
    if (depth === shape.length) return flat[at++]!;
    return Array.from({ length: shape[depth]! }, () => build(depth + 1));
  };
  return build(0);
}
