/** Rows are copied as integers: a float read and written again need not keep the bits of a NaN. */
export type Units = BigInt64Array | Int32Array | Uint16Array;

export type UnitBytes = 8 | 4 | 2;

/** The widest units that rows of `rowBytes` at a byte offset can be copied in. */
export function unitOf(rowBytes: number, byteOffset: number): UnitBytes {
  const both = rowBytes | byteOffset;
  return both % 8 === 0 ? 8 : both % 4 === 0 ? 4 : 2;
}

export function unitsOf(unit: UnitBytes, buffer: ArrayBufferLike, byteOffset: number, bytes: number): Units {
  if (unit === 8) return new BigInt64Array(buffer, byteOffset, bytes / 8);
  if (unit === 4) return new Int32Array(buffer, byteOffset, bytes / 4);
  return new Uint16Array(buffer, byteOffset, bytes / 2);
}

/**
 * Copies row `rows[i]` of `source` to place `at + i` of `target`, for i from `from` to `to`.
 * @param size - units of a row
 */
type CopyRows<U> = (
  source: U,
  target: U,
  rows: Uint32Array,
  from: number,
  to: number,
  at: number,
  size: number,
) => void;

/** From this many bytes a row is copied by the engine's own loop, at the price of a view. */
const LONG_ROW = 1024;

export function copyRows(
  source: Units,
  target: Units,
  rows: Uint32Array,
  from: number,
  to: number,
  at: number,
  size: number,
): void {
  if (size * source.BYTES_PER_ELEMENT >= LONG_ROW) copyLong(source, target, rows, from, to, at, size);
  else if (source instanceof BigInt64Array) copy64(source, target as BigInt64Array, rows, from, to, at, size);
  else if (source instanceof Int32Array) copy32(source, target as Int32Array, rows, from, to, at, size);
  else copy16(source, target as Uint16Array, rows, from, to, at, size);
}

const copyLong: CopyRows<Units> = (source, target, rows, from, to, at, size) => {
  for (let i = from; i < to; i++) {
    const start = rows[i]! * size;
    (target as Int32Array).set(source.subarray(start, start + size) as Int32Array, (at + i) * size);
  }
};

// The same loop three times: compiled for one kind of array each, it takes a third of the time.

const copy64: CopyRows<BigInt64Array> = (source, target, rows, from, to, at, size) => {
  for (let i = from; i < to; i++) {
    let s = rows[i]! * size;
    let t = (at + i) * size;
    const end = t + size;
    for (; t + 4 <= end; t += 4, s += 4) {
      target[t] = source[s]!;
      target[t + 1] = source[s + 1]!;
      target[t + 2] = source[s + 2]!;
      target[t + 3] = source[s + 3]!;
    }
    for (; t < end; t++, s++) target[t] = source[s]!;
  }
};

const copy32: CopyRows<Int32Array> = (source, target, rows, from, to, at, size) => {
  for (let i = from; i < to; i++) {
    let s = rows[i]! * size;
    let t = (at + i) * size;
    const end = t + size;
    for (; t + 4 <= end; t += 4, s += 4) {
      target[t] = source[s]!;
      target[t + 1] = source[s + 1]!;
      target[t + 2] = source[s + 2]!;
      target[t + 3] = source[s + 3]!;
    }
    for (; t < end; t++, s++) target[t] = source[s]!;
  }
};

const copy16: CopyRows<Uint16Array> = (source, target, rows, from, to, at, size) => {
  for (let i = from; i < to; i++) {
    let s = rows[i]! * size;
    let t = (at + i) * size;
    const end = t + size;
    for (; t + 4 <= end; t += 4, s += 4) {
      target[t] = source[s]!;
      target[t + 1] = source[s + 1]!;
      target[t + 2] = source[s + 2]!;
      target[t + 3] = source[s + 3]!;
    }
    for (; t < end; t++, s++) target[t] = source[s]!;
  }
};
