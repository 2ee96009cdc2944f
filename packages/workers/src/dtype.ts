/** Element types of variables. float16 is stored as IEEE 754 binary16 bit patterns. */
export type DType = "float32" | "float64" | "float16";

/** An array of elements of a dtype; Uint16Array holds the bit patterns of float16. */
export type TypedArray = Float32Array | Float64Array | Uint16Array;

interface DTypeInfo {
  readonly bytes: number;
  /** Suffix of the kernels of this dtype. */
  readonly suffix: "F32" | "F64" | "F16";
  /** Number that stands for the dtype inside an encoded program. */
  readonly code: number;
}

/** Size in bytes of one element of each dtype, and how kernels tell the dtypes apart. */
export const dtypeInfo: Readonly<Record<DType, DTypeInfo>> = {
  float32: { bytes: 4, suffix: "F32", code: 0 },
  float64: { bytes: 8, suffix: "F64", code: 1 },
  float16: { bytes: 2, suffix: "F16", code: 2 },
};

/** A typed-array view of `length` elements of a buffer. */
export function viewOf(
  dtype: DType,
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
): TypedArray {
  if (dtype === "float32") return new Float32Array(buffer, byteOffset, length);
  if (dtype === "float64") return new Float64Array(buffer, byteOffset, length);
  return new Uint16Array(buffer, byteOffset, length);
}
