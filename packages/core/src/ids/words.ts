import { ArgumentError, DtypeError, ShapeError } from "../errors/index.js";

/** One id of an example: a string, or an integer as a bigint or a safe number. */
export type Id = string | bigint | number;
/** Integer ids in a typed array. */
export type IntegerIdArray = BigInt64Array | BigUint64Array | Int32Array | Uint32Array;
/** A list of ids. */
export type IdBatch = readonly Id[] | IntegerIdArray;

const one = new BigInt64Array(1);
const oneWords = new Int32Array(one.buffer);
const TWO_32 = 2 ** 32;

/** The low 32 bits of an integer in two's complement. */
export function lowWord(id: bigint | number): number {
  if (typeof id === "number") return id | 0;
  one[0] = id;
  return oneWords[0]!;
}

/** Bits 32 to 63 of an integer in two's complement. */
export function highWord(id: bigint | number): number {
  if (typeof id === "number") return Math.floor(id / TWO_32) | 0;
  one[0] = id;
  return oneWords[1]!;
}

/** The name of the kind of typed array, also of another realm; undefined for anything else. */
export function tagOf(value: unknown): string | undefined {
  return ArrayBuffer.isView(value)
    ? (value as unknown as Record<symbol, string>)[Symbol.toStringTag]
    : undefined;
}

export function isIntegerIdArray(ids: unknown): ids is IntegerIdArray {
  const tag = tagOf(ids);
  return tag === "BigInt64Array" || tag === "BigUint64Array" || tag === "Int32Array" || tag === "Uint32Array";
}

/** The 64-bit words of a typed array, [low, high] each; a view of 64-bit arrays, a copy of others. */
export function wordsOfArray(ids: IntegerIdArray): Int32Array {
  if (ids.BYTES_PER_ELEMENT === 8) {
    return new Int32Array(ids.buffer, ids.byteOffset, 2 * ids.length);
  }
  const words = new Int32Array(2 * ids.length);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    words[2 * i] = id;
    words[2 * i + 1] = id < 0 ? -1 : 0;
  }
  return words;
}

/** Where a call leaves the rows of `ids`: `out` if it fits, a new array without one. */
export function rowsFor<Rows extends Int32Array | Uint32Array>(
  out: Rows | undefined,
  ids: IdBatch,
  Rows: new (length: number) => Rows,
): Rows {
  const { length } = ids;
  if (out === undefined) return new Rows(length);
  if (tagOf(out) !== Rows.name) {
    throw new DtypeError({ argument: "out", received: out, expected: `a ${Rows.name}` });
  }
  if (out.length !== length) {
    const expected = `${length} elements, one for each id`;
    throw new ShapeError({ argument: "out", received: out, expected });
  }
  if (ArrayBuffer.isView(ids) && overlap(out, ids)) {
    const expected = "an array that shares no memory with `ids`";
    throw new ArgumentError({ argument: "out", received: out, expected });
  }
  return out;
}

function overlap(a: ArrayBufferView, b: ArrayBufferView): boolean {
  if (a.buffer !== b.buffer) return false;
  return a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength;
}

/** What is wrong with a list of ids that is neither an array nor a typed array of integers. */
export function notIds(ids: unknown): ArgumentError {
  const expected = "an array, BigInt64Array, BigUint64Array, Int32Array or Uint32Array of ids";
  return new ArgumentError({ argument: "ids", received: ids, expected });
}
