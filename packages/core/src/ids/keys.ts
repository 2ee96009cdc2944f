import { webcrypto as crypto } from "node:crypto";
import type { IdBatch } from "./words.js";

/** Ids as a saved state has them: integers, or the UTF-8 bytes of strings one after another and their lengths. */
export type IdList =
  | BigInt64Array
  | BigUint64Array
  | { readonly utf8: Uint8Array; readonly lengths: Uint32Array };

/** A list of ids from a saved state. */
export interface LoadedIds<Batch> {
  readonly batch: Batch;
  readonly length: number;
}

/**
 * Ids of one type, each kept under a number, its place: the row of a map, or the place of a candidate.
 * `Batch` is a list of ids, checked and made ready.
 */
export interface Keys<Batch> {
  /** Checks a list of ids and makes it ready. @throws ArgumentError for the first one that is not of the type. */
  read(ids: IdBatch): Batch;
  /** 32 well-mixed bits of id `i`, an int32. */
  hashOf(batch: Batch, i: number): number;
  /** The same of the id at a place. */
  hashAt(place: number): number;
  equals(place: number, batch: Batch, i: number): boolean;
  write(place: number, batch: Batch, i: number): void;
  clear(place: number): void;
  idAt(place: number): bigint | string;
  /** A copy of the ids at some places, to be saved. */
  save(places: Uint32Array): IdList;
  /** A list that `save` made, as a batch. @throws ArgumentError named `argument` for anything else. */
  load(saved: unknown, argument: string): LoadedIds<Batch>;
  /** Keys with the same ids and more room; these stay as they are. */
  grown(capacity: number): Keys<Batch>;
  /** Keys of the same type without ids. */
  empty(capacity: number): Keys<Batch>;
}

/**
 * A secret of this process, so that nobody can prepare ids that meet in one place of the index. Rows do not depend on
 * it: they are given in the order of admission.
 */
export const secret = crypto.getRandomValues(new Int32Array(2));

/** The finalizer of MurmurHash3: every bit of the result depends on every bit of `h`. */
export function mix(h: number): number {
  let mixed = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
