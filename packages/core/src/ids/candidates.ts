import { IdIndex } from "./id-index.js";
import type { IdList, Keys } from "./keys.js";

/** Candidates as a saved state has them, from the one seen longest ago to the one seen last. */
export interface SavedCandidates {
  readonly candidateIds: IdList;
  /** How often each was seen. */
  readonly candidateSightings: Uint32Array;
  /** The step at which each was seen last. */
  readonly candidateSteps: Uint32Array;
}

/** What a map saves that counts no candidates. */
export function noCandidates(keys: Keys<unknown>): SavedCandidates {
  const none = new Uint32Array(0);
  return { candidateIds: keys.save(none), candidateSightings: none, candidateSteps: none };
}

/**
 * Counts sightings of ids that have no row yet. It has room for `capacity` of them: when it is full, the one seen
 * longest ago is forgotten for a new one. A list in the order of sightings runs through the places; place
 * `capacity` is its head, whose `#later` is the oldest candidate and whose `#earlier` the newest.
 */
export class Candidates<Batch> {
  readonly #index: IdIndex<Batch>;
  readonly #capacity: number;
  readonly #sightings: Uint32Array;
  readonly #steps: Uint32Array;
  readonly #later: Int32Array;
  readonly #earlier: Int32Array;
  /** Places that were taken once, and of these the ones that are free: a list through `#later`, -1 at its end. */
  #taken = 0;
  #free = -1;
  #size = 0;

  constructor(keys: Keys<Batch>, capacity: number) {
    this.#index = new IdIndex(keys.empty(capacity), capacity);
    this.#capacity = capacity;
    this.#sightings = new Uint32Array(capacity);
    this.#steps = new Uint32Array(capacity);
    this.#later = new Int32Array(capacity + 1);
    this.#earlier = new Int32Array(capacity + 1);
    this.#later[capacity] = capacity;
    this.#earlier[capacity] = capacity;
  }

  get size(): number {
    return this.#size;
  }

  /** The place of a candidate, -1 for an id that is none. */
  find(hash: number, batch: Batch, i: number): number {
    return this.#index.find(hash, batch, i);
  }

  sightingsAt(place: number): number {
    return this.#sightings[place]!;
  }

  /** Counts one sighting of id `i` of a batch, up to `most`; its place. */
  see(hash: number, batch: Batch, i: number, step: number, most: number): number {
    const place = this.#index.find(hash, batch, i);
    if (place < 0) return this.add(hash, batch, i, step, 1);
    this.#unlink(place);
    this.#link(place);
    if (this.#sightings[place]! < most) this.#sightings[place]!++;
    this.#steps[place] = step;
    return place;
  }

  /** Adds a candidate as the newest one, in place of the oldest when there is no room; its place. */
  add(hash: number, batch: Batch, i: number, step: number, sightings: number): number {
    if (this.#size === this.#capacity) this.forget(this.#later[this.#capacity]!);
    let place = this.#free;
    if (place >= 0) this.#free = this.#later[place]!;
    else place = this.#taken++;
    this.#index.insert(hash, batch, i, place);
    this.#link(place);
    this.#size++;
    this.#steps[place] = step;
    this.#sightings[place] = sightings;
    return place;
  }

  forget(place: number): void {
    this.#index.remove(place);
    this.#unlink(place);
    this.#later[place] = this.#free;
    this.#free = place;
    this.#size--;
  }

  /** Forgets the candidates that were seen last at `step` or before. */
  forgetUntil(step: number): void {
    const head = this.#capacity;
    for (let oldest = this.#later[head]!; oldest !== head && this.#steps[oldest]! <= step; ) {
      this.forget(oldest);
      oldest = this.#later[head]!;
    }
  }

  save(): SavedCandidates {
    const places = new Uint32Array(this.#size);
    let place = this.#capacity;
    for (let i = 0; i < places.length; i++) {
      place = this.#later[place]!;
      places[i] = place;
    }
    return {
      candidateIds: this.#index.keys.save(places),
      candidateSightings: places.map((at) => this.#sightings[at]!),
      candidateSteps: places.map((at) => this.#steps[at]!),
    };
  }

  #link(place: number): void {
    const head = this.#capacity;
    const newest = this.#earlier[head]!;
    this.#later[newest] = place;
    this.#earlier[place] = newest;
    this.#later[place] = head;
    this.#earlier[head] = place;
  }

  #unlink(place: number): void {
    const later = this.#later[place]!;
    const earlier = this.#earlier[place]!;
    this.#later[earlier] = later;
    this.#earlier[later] = earlier;
  }
}
