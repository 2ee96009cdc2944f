import type { DType, TypedArray } from "@shardgrad/workers";
import { ArgumentError, DtypeError, ShapeError } from "../errors/index.js";
import type { Initializer } from "./initializers.js";
import { checkDtype, checkShape, dtypeOfArray, type NestedArray, shapeOfNested, sizeOf } from "./values.js";

/** Shape and dtype of a value under the options. */
export function describe(
  value: NestedArray | TypedArray | Initializer,
  { shape, dtype }: { shape?: readonly number[] | undefined; dtype?: DType | undefined },
  argument = "initialValue",
  exact = false,
): { shape: readonly number[]; dtype: DType } {
  if (shape !== undefined) checkShape(shape, "shape");
  if (dtype !== undefined) checkDtype(dtype);
  if (typeof value === "string" || typeof value === "function") {
    if (shape !== undefined) return { shape, dtype: dtype ?? "float32" };
    throw new ShapeError({
      argument: "shape",
      received: shape,
      expected: "a shape, as an initializer has none of its own",
    });
  }
  if (ArrayBuffer.isView(value)) {
    const held = dtypeOfArray(value);
    if (held === undefined || (dtype !== undefined && held !== dtype)) {
      const expected =
        dtype === undefined ? "a Float32Array, Float64Array or Uint16Array" : `values of dtype ${dtype}`;
      throw new DtypeError({ argument, received: value, expected });
    }
    return { shape: fitting(shape ?? [value.length], [value.length], argument, value, false), dtype: held };
  }
  if (typeof value !== "number" && !Array.isArray(value)) {
    throw new ArgumentError({
      argument,
      received: value,
      expected: "a number, nested arrays or a typed array",
    });
  }
  const own = shapeOfNested(value);
  return { shape: fitting(shape ?? own, own, argument, value, exact), dtype: dtype ?? "float32" };
}

function fitting(
  shape: readonly number[],
  own: readonly number[],
  argument: string,
  received: unknown,
  exact: boolean,
): readonly number[] {
  const same = exact ? own.join() === shape.join() : sizeOf(own) === sizeOf(shape);
  if (same) return shape;
  const expected = `values of shape [${shape.join(", ")}], not [${own.join(", ")}]`;
  throw new ShapeError({ argument, received, expected });
}
