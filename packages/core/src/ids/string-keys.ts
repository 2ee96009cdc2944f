import { ArgumentError } from "../errors/index.js";
import { type Keys, type LoadedIds, mix, secret } from "./keys.js";
import { type IdBatch, notIds, tagOf } from "./words.js";

const START = secret[0]!;

/** Strings of this length and more may be parts of a longer string, which V8 then keeps alive. */
const MAY_BE_PART = 13;

/** The string in memory of its own. */
function owned(id: string): string {
  return id.length < MAY_BE_PART ? id : Buffer.from(id).toString();
}

function isBytes(value: unknown): value is Uint8Array {
  return tagOf(value) === "Uint8Array";
}

function isLengths(value: unknown): value is Uint32Array {
  return tagOf(value) === "Uint32Array";
}

/** Well-formed strings; a batch is an array of them. */
export class StringKeys implements Keys<readonly string[]> {
  readonly #ids: string[];

  constructor(from: readonly string[] = []) {
    this.#ids = [...from];
  }

  read(ids: IdBatch): readonly string[] {
    if (!Array.isArray(ids)) throw notIds(ids);
    for (let i = 0; i < ids.length; i++) {
      const id: unknown = ids[i];
      if (typeof id === "string" && id.isWellFormed()) continue;
      const expected = "a string without halves of surrogate pairs";
      throw new ArgumentError({ argument: `ids[${i}]`, received: id, expected });
    }
    return ids;
  }

  /** FNV-1a over UTF-16 units from a secret start, mixed. */
  hashOf(ids: readonly string[], i: number): number {
    const id = ids[i]!;
    let h = START;
    for (let k = 0; k < id.length; k++) h = Math.imul(h ^ id.charCodeAt(k), 0x01000193);
    return mix(h);
  }

  hashAt(place: number): number {
    return this.hashOf(this.#ids, place);
  }

  equals(place: number, ids: readonly string[], i: number): boolean {
    return this.#ids[place] === ids[i];
  }

  write(place: number, ids: readonly string[], i: number): void {
    // Without holes, of which V8 would make a slow dictionary.
    while (this.#ids.length < place) this.#ids.push("");
    this.#ids[place] = owned(ids[i]!);
  }

  clear(place: number): void {
    this.#ids[place] = "";
  }

  idAt(place: number): string {
    return this.#ids[place]!;
  }

  save(places: Uint32Array): { utf8: Uint8Array; lengths: Uint32Array } {
    const lengths = Uint32Array.from(places, (place) => Buffer.byteLength(this.#ids[place]!));
    const utf8 = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
    const encoder = new TextEncoder();
    let at = 0;
    for (const [i, place] of places.entries()) {
      encoder.encodeInto(this.#ids[place]!, utf8.subarray(at));
      at += lengths[i]!;
    }
    return { utf8, lengths };
  }

  load(saved: unknown, argument: string): LoadedIds<readonly string[]> {
    const { utf8, lengths } = (saved ?? {}) as { utf8?: unknown; lengths?: unknown };
    const refuse = (expected: string) => new ArgumentError({ argument, received: saved, expected });
    if (!(isBytes(utf8) && isLengths(lengths))) {
      throw refuse("an object of `utf8`, a Uint8Array, and `lengths`, a Uint32Array");
    }
    if (lengths.reduce((sum, length) => sum + length, 0) !== utf8.length) {
      throw refuse("`lengths` whose sum is the length of `utf8`");
    }
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const batch: string[] = [];
    let at = 0;
    for (const length of lengths) {
      try {
        batch.push(decoder.decode(utf8.subarray(at, at + length)));
      } catch {
        throw refuse("valid UTF-8");
      }
      at += length;
    }
    return { batch, length: batch.length };
  }

  grown(): StringKeys {
    return new StringKeys(this.#ids);
  }

  empty(): StringKeys {
    return new StringKeys();
  }
}
