import type { Keys } from "./keys.js";

/** At most this share of the slots is in use. */
const MOST_LOAD = 0.75;

/** A power of two with room for `capacity` ids. */
function slotsFor(capacity: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(8, capacity / MOST_LOAD)));
}

/**
 * Finds the place of an id: a hash table with linear probing in one Int32Array. A slot is [hash, place + 1], so that
 * ids are only compared where all 32 bits of the hash agree, and a probe of several slots stays in a cache line.
 * Removal moves later ids of a run back, there are no tombstones.
 */
export class IdIndex<Batch> {
  readonly keys: Keys<Batch>;
  readonly #slots: Int32Array;
  readonly #mask: number;

  constructor(keys: Keys<Batch>, capacity: number) {
    const slots = slotsFor(capacity);
    this.keys = keys;
    this.#slots = new Int32Array(2 * slots);
    this.#mask = slots - 1;
  }

  /** The place of id `i` of a batch, whose hash is `hash`; -1 if it has none. */
  find(hash: number, batch: Batch, i: number): number {
    const slots = this.#slots;
    const mask = this.#mask;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const place = slots[2 * slot + 1]! - 1;
      if (place < 0) return -1;
      if (slots[2 * slot] === hash && this.keys.equals(place, batch, i)) return place;
    }
  }

  /** Keeps id `i` of a batch at a free place. The id must not be there yet. */
  insert(hash: number, batch: Batch, i: number, place: number): void {
    this.keys.write(place, batch, i);
    this.#put(hash, place);
  }

  /** Forgets the id at a place. */
  remove(place: number): void {
    const slots = this.#slots;
    const mask = this.#mask;
    let hole = this.keys.hashAt(place) & mask;
    while (slots[2 * hole + 1] !== place + 1) hole = (hole + 1) & mask;
    for (let slot = (hole + 1) & mask; slots[2 * slot + 1] !== 0; slot = (slot + 1) & mask) {
      // An id may move back to the hole unless it would come before the slot where its probing starts.
      if (((slot - slots[2 * slot]!) & mask) < ((slot - hole) & mask)) continue;
      slots[2 * hole] = slots[2 * slot]!;
      slots[2 * hole + 1] = slots[2 * slot + 1]!;
      hole = slot;
    }
    slots[2 * hole + 1] = 0;
    this.keys.clear(place);
  }

  /** An index of the same ids with room for more; this one stays as it is. */
  grown(capacity: number): IdIndex<Batch> {
    const larger = new IdIndex(this.keys.grown(capacity), capacity);
    const slots = this.#slots;
    for (let at = 0; at < slots.length; at += 2) {
      if (slots[at + 1] !== 0) larger.#put(slots[at]!, slots[at + 1]! - 1);
    }
    return larger;
  }

  #put(hash: number, place: number): void {
    const slots = this.#slots;
    const mask = this.#mask;
    let slot = hash & mask;
    while (slots[2 * slot + 1] !== 0) slot = (slot + 1) & mask;
    slots[2 * slot] = hash;
    slots[2 * slot + 1] = place + 1;
  }
}
