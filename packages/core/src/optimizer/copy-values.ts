import { dtypeInfo, type TypedArray, viewOf } from "@shardgrad/workers";
import { writeNumbers } from "../variable/values.js";
import type { Variable } from "../variable/variable.js";

/** Arrays of whole numbers: copying them keeps every bit, of a NaN too. */
export type Words = Int32Array | Uint16Array;

/** The bits of values, of the variable's dtype. */
export function wordsOf(values: TypedArray | readonly number[], { dtype }: Variable): Words {
  if (ArrayBuffer.isView(values)) return asWords(values);
  const typed = viewOf(dtype, new ArrayBuffer(values.length * dtypeInfo[dtype].bytes), 0, values.length);
  writeNumbers(dtype, typed, values);
  return asWords(typed);
}

export function asWords(values: TypedArray): Words {
  if (values.BYTES_PER_ELEMENT === 2) return values as Uint16Array;
  return new Int32Array(values.buffer, values.byteOffset, values.byteLength / 4);
}

export function copyInto(
  { dtype }: Variable,
  target: TypedArray,
  values: TypedArray | readonly number[],
  from: number,
): void {
  if (ArrayBuffer.isView(values)) target.set(values.subarray(from, from + target.length));
  else writeNumbers(dtype, target, values, from);
}
