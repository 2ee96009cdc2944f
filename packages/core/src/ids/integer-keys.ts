import { ArgumentError } from "../errors/index.js";
import { type Keys, type LoadedIds, mix, secret } from "./keys.js";
import { highWord, type IdBatch, isIntegerIdArray, lowWord, notIds, tagOf, wordsOfArray } from "./words.js";

const [FIRST, SECOND] = secret as unknown as [number, number];
const LIMIT_63 = 2n ** 63n;
const LIMIT_64 = 2n ** 64n;

/** 64-bit integers; a batch is their words, [low, high] each. */
export class IntegerKeys implements Keys<Int32Array> {
  readonly #signed: boolean;
  readonly #words: Int32Array;

  constructor(capacity: number, signed: boolean, from?: Int32Array) {
    this.#signed = signed;
    this.#words = new Int32Array(2 * capacity);
    if (from !== undefined) this.#words.set(from);
  }

  read(ids: IdBatch): Int32Array {
    if (isIntegerIdArray(ids)) {
      // Another thread must not change an id between its check, its hash and its copy in the map.
      const words = wordsOfArray(ids.buffer instanceof SharedArrayBuffer ? ids.slice() : ids);
      if (this.#mayHoldOthers(ids)) {
        for (let i = 0; i < ids.length; i++) if (words[2 * i + 1]! < 0) this.#check(ids[i], i);
      }
      return words;
    }
    if (!Array.isArray(ids)) throw notIds(ids);
    const words = new Int32Array(2 * ids.length);
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      this.#check(id, i);
      words[2 * i] = lowWord(id);
      words[2 * i + 1] = highWord(id);
    }
    return words;
  }

  hashOf(words: Int32Array, i: number): number {
    return mix(words[2 * i]! ^ mix(words[2 * i + 1]! ^ FIRST) ^ SECOND);
  }

  hashAt(place: number): number {
    return this.hashOf(this.#words, place);
  }

  equals(place: number, words: Int32Array, i: number): boolean {
    const own = this.#words;
    return own[2 * place] === words[2 * i] && own[2 * place + 1] === words[2 * i + 1];
  }

  write(place: number, words: Int32Array, i: number): void {
    this.#words[2 * place] = words[2 * i]!;
    this.#words[2 * place + 1] = words[2 * i + 1]!;
  }

  /** Nothing to do: a number holds no memory. */
  clear(): void {}

  idAt(place: number): bigint {
    return this.save(Uint32Array.of(place))[0]!;
  }

  save(places: Uint32Array): BigInt64Array | BigUint64Array {
    const words = new Int32Array(2 * places.length);
    for (let i = 0; i < places.length; i++) {
      words[2 * i] = this.#words[2 * places[i]!]!;
      words[2 * i + 1] = this.#words[2 * places[i]! + 1]!;
    }
    return this.#signed ? new BigInt64Array(words.buffer) : new BigUint64Array(words.buffer);
  }

  load(saved: unknown, argument: string): LoadedIds<Int32Array> {
    const expected = this.#signed ? "BigInt64Array" : "BigUint64Array";
    if (!isIntegerIdArray(saved) || tagOf(saved) !== expected) {
      throw new ArgumentError({ argument, received: saved, expected: `a ${expected}` });
    }
    return { batch: wordsOfArray(saved), length: saved.length };
  }

  grown(capacity: number): IntegerKeys {
    return new IntegerKeys(capacity, this.#signed, this.#words);
  }

  empty(capacity: number): IntegerKeys {
    return new IntegerKeys(capacity, this.#signed);
  }

  /** Whether an array of this kind may hold ids that are not of the type; their top bit is set. */
  #mayHoldOthers(ids: IdBatch): boolean {
    const tag = tagOf(ids);
    return this.#signed ? tag === "BigUint64Array" : tag === "BigInt64Array" || tag === "Int32Array";
  }

  #check(id: unknown, i: number): asserts id is bigint | number {
    const signed = this.#signed;
    if (Number.isSafeInteger(id) && (signed || (id as number) >= 0)) return;
    if (typeof id === "bigint") {
      if (signed ? id >= -LIMIT_63 && id < LIMIT_63 : id >= 0n && id < LIMIT_64) return;
    }
    const range = signed ? "-2^63 to 2^63 - 1" : "0 to 2^64 - 1";
    const expected = `a bigint or safe integer from ${range}`;
    throw new ArgumentError({ argument: `ids[${i}]`, received: id, expected });
  }
}
