import { ArgumentError, IndexError, OptionError } from "../errors/index.js";
import { checkOptions } from "../schedules/options.js";
import { Candidates, noCandidates } from "./candidates.js";
import { type IdMapState, type IdType, keysOf, loadState } from "./id-map-state.js";
import { integerOption } from "./options.js";
import { RowTable } from "./row-table.js";
import { type Id, type IdBatch, rowsFor } from "./words.js";

/** What {@link IdMap} is made of. */
export interface IdMapOptions {
  /** Number of rows there are for ids, 1 to 268,435,456. */
  readonly rows: number;
  /** What the ids are. Default "int64". */
  readonly idType?: IdType | undefined;
  /** The sighting at which an id gets a row, 1 to 2^32 - 1. Default 1. */
  readonly admitAfter?: number | undefined;
  /** Steps without use after which `expire` frees a row, at least 1. Default Infinity: never. */
  readonly expireAfter?: number | undefined;
  /** Number of ids without a row whose sightings are counted, 1 to 268,435,456. Default `rows`. */
  readonly maxCandidates?: number | undefined;
}

const NAMES = {
  rows: "rows",
  idType: "idType",
  admitAfter: "admitAfter",
  expireAfter: "expireAfter",
  maxCandidates: "maxCandidates",
} as const;

const MOST_ROWS = 2 ** 28;
/** Steps are kept as uint32, increased by one: 0 marks a free row. */
const MOST_STEP = 2 ** 32 - 2;

/**
 * Maps ids to the rows of an embedding table and remembers them: each id has a row of its own, new ids are admitted,
 * and rows that are no longer used go to others. After the dynamic embeddings of TFRA and HugeCTR and the managed
 * collisions of TorchRec.
 *
 * **Admission.** An id gets a row at its `admitAfter`-th sighting, each occurrence in a list being one. Until then it
 * is a candidate. At most `maxCandidates` are counted, exactly; when one more comes, the candidate seen longest ago
 * is forgotten, and starts from zero when it comes again. So an id may be admitted late or never, but never early:
 * none is forgotten while fewer than `maxCandidates` other candidates have been seen since its last sighting. When
 * all rows are in use, ids stay candidates (with `admitAfter` 1 they are not remembered), and the first one to be
 * seen after a row has become free gets it.
 *
 * **Expiry.** `expire(step)` frees the rows last used at `step - expireAfter` or before, and forgets such candidates.
 * Only `admit` is a use. Freed rows are given out again before new ones; their values are the caller's to reset.
 *
 * **Rows** are given out in the order of the sightings, from 0. The same calls give the same rows on every machine.
 *
 * **Memory.** 23 to 34 bytes a row, and with `admitAfter` above 1 another 35 to 46 a candidate, asked for at once; strings
 * are kept beside that. A list of freed rows, up to 4 bytes a row, is made as it is needed.
 *
 * @throws {OptionError} for options that are unknown or out of bounds.
 * @throws {RangeError} by the engine, if the memory cannot be had.
 * @example
 * import { IdMap } from "@shardgrad/core";
 *
 * const map = new IdMap({ rows: 1000, admitAfter: 2, expireAfter: 10 });
 * const ids = BigInt64Array.of(7_000_000_007n, 42n, 42n);
 * console.log(map.admit(ids, 0)); // Int32Array(3) [ -1, -1, 0 ]
 * console.log(map.admit(ids, 1)); // Int32Array(3) [ 1, 0, 0 ]
 * console.log(map.lookup([42n, 43n]), map.rowOf(42), map.idOf(0)); // Int32Array(2) [ 0, -1 ] 0 42n
 * map.admit([42], 5);
 * console.log(map.expire(11), map.size); // Uint32Array(1) [ 1 ] 1
 * map.resize(2000);
 * const copy = IdMap.fromState(structuredClone(map.toState()));
 * console.log(copy.rowOf(42), copy.capacity); // 0 2000
 */
export class IdMap {
  /** What the ids are. */
  readonly idType: IdType;
  /** The sighting at which an id gets a row. */
  readonly admitAfter: number;
  /** Steps without use after which `expire` frees a row. */
  readonly expireAfter: number;
  /** Number of ids without a row whose sightings are counted at most. */
  readonly maxCandidates: number;
  readonly #table: RowTable<unknown>;
  readonly #candidates: Candidates<unknown> | undefined;
  #step = 0;

  constructor(options: IdMapOptions) {
    checkOptions("IdMap", options, NAMES);
    const { idType = "int64", admitAfter = 1, expireAfter = Infinity } = options;
    const rows = integerOption("rows", options.rows, 1, MOST_ROWS);
    this.admitAfter = integerOption("admitAfter", admitAfter, 1, 2 ** 32 - 1);
    if (expireAfter !== Infinity) integerOption("expireAfter", expireAfter, 1, MOST_STEP);
    this.expireAfter = expireAfter;
    this.maxCandidates = integerOption("maxCandidates", options.maxCandidates ?? rows, 1, MOST_ROWS);
    const keys = keysOf(idType, rows);
    if (keys === undefined) {
      const expected = '"int64", "uint64" or "string"';
      throw new OptionError({ argument: "idType", received: idType, expected });
    }
    this.idType = idType;
    this.#table = new RowTable(keys, rows);
    if (admitAfter > 1) this.#candidates = new Candidates(keys, this.maxCandidates);
  }

  /** Number of rows there are for ids. */
  get capacity(): number {
    return this.#table.capacity;
  }

  /** Number of ids that have a row. */
  get size(): number {
    return this.#table.size;
  }

  /** Number of ids without a row whose sightings are counted. */
  get candidates(): number {
    return this.#candidates?.size ?? 0;
  }

  /** The step of the last call of `admit` or `expire`, 0 before the first. */
  get step(): number {
    return this.#step;
  }

  /**
   * The row of each id, -1 for one that has none. Changes nothing: no sighting is counted, no row marked as used.
   *
   * @param ids - bigints or safe integers, or 64-bit or 32-bit typed arrays of them; strings for a map of strings
   * @param out - array for the rows, of the length of `ids`; default a new one
   * @throws {ArgumentError} for an id that is not of the map's type, and an `out` of another type (DtypeError) or
   *   length (ShapeError); nothing has been written then.
   */
  lookup(ids: IdBatch, out?: Int32Array): Int32Array {
    const { index } = this.#table;
    const { keys } = index;
    const batch = keys.read(ids);
    const rows = rowsFor(out, ids, Int32Array);
    for (let i = 0; i < rows.length; i++) rows[i] = index.find(keys.hashOf(batch, i), batch, i);
    return rows;
  }

  /** The row of one id, -1 if it has none; as `lookup`. */
  rowOf(id: Id): number {
    return this.lookup([id])[0]!;
  }

  /**
   * The id of a row, undefined for a free one.
   *
   * @throws {IndexError} for a row that is no integer from 0 to `capacity` - 1.
   */
  idOf(row: number): bigint | string | undefined {
    if (!Number.isInteger(row) || row < 0 || row >= this.capacity) {
      const expected = `an integer from 0 to ${this.capacity - 1}`;
      throw new IndexError({ argument: "row", received: row, expected });
    }
    return this.#table.isFree(row) ? undefined : this.#table.index.keys.idAt(row);
  }

  /**
   * The rows of the ids of a training step: counts a sighting of each, gives rows to those that are due, and marks
   * the rows as used at this step. -1 for an id that has no row (yet).
   *
   * @param ids - as for `lookup`
   * @param step - number of the training step, an integer from 0 to 2^32 - 2, never less than in the last call
   * @param out - array for the rows, of the length of `ids`; default a new one
   * @throws {ArgumentError} as `lookup`, and for a bad step; nothing has changed then.
   */
  admit(ids: IdBatch, step: number, out?: Int32Array): Int32Array {
    const { index } = this.#table;
    const { keys } = index;
    const batch = keys.read(ids);
    const rows = rowsFor(out, ids, Int32Array);
    this.#step = this.#checkStep(step);
    for (let i = 0; i < rows.length; i++) {
      const hash = keys.hashOf(batch, i);
      let row = index.find(hash, batch, i);
      if (row < 0) row = this.#consider(hash, batch, i);
      if (row >= 0) this.#table.use(row, step);
      rows[i] = row;
    }
    return rows;
  }

  /**
   * Frees the rows that have not been used for `expireAfter` steps: those last used at `step - expireAfter` or
   * before. Call it after the `admit` of the step. The rows may be given out again by the next `admit`; before that,
   * set them and their slots to what a new row is to start with.
   *
   * @param step - number of the training step, an integer from 0 to 2^32 - 2, never less than in the last call
   * @returns the rows that were freed, ascending
   * @throws {ArgumentError} for a bad step; nothing has changed then.
   */
  expire(step: number): Uint32Array {
    this.#checkStep(step);
    const last = step - this.expireAfter;
    const freed = this.#table.usedUntil(last);
    this.#table.release(freed);
    this.#candidates?.forgetUntil(last);
    this.#step = step;
    return freed;
  }

  /**
   * Makes room for more ids. All ids keep their rows; `maxCandidates` stays.
   *
   * @param rows - the new capacity, from the present one to 268,435,456
   * @throws {ArgumentError} for anything else; nothing has changed then.
   */
  resize(rows: number): void {
    if (!Number.isInteger(rows) || rows < this.capacity || rows > MOST_ROWS) {
      const expected = `an integer from ${this.capacity} to ${MOST_ROWS}`;
      throw new ArgumentError({ argument: "rows", received: rows, expected });
    }
    this.#table.grow(rows);
  }

  /** A copy of the map as plain data. */
  toState(): IdMapState {
    const { idType, capacity, admitAfter, expireAfter, maxCandidates, step } = this;
    return {
      version: 1,
      ...{ idType, capacity, admitAfter, expireAfter, maxCandidates, step },
      ...this.#table.save(),
      ...(this.#candidates?.save() ?? noCandidates(this.#table.index.keys)),
    };
  }

  /**
   * The map that a state describes; the state is copied.
   *
   * @throws {OptionError} for options that the constructor refuses.
   * @throws {ArgumentError} for a state that `toState` cannot have made.
   */
  static fromState(state: IdMapState): IdMap {
    if (typeof state !== "object" || state === null) {
      throw new ArgumentError({ argument: "state", received: state, expected: "an object" });
    }
    if (state.version !== 1) {
      throw new ArgumentError({ argument: "state.version", received: state.version, expected: "1" });
    }
    const { capacity, idType, admitAfter, expireAfter, maxCandidates } = state;
    const map = new IdMap({ rows: capacity, idType, admitAfter, expireAfter, maxCandidates });
    map.#step = map.#checkStep(state.step, "state.step");
    loadState(state, map.#table, map.#candidates);
    return map;
  }

  /** A row for an id that has none, if it is due for one and there is one; -1 otherwise. */
  #consider(hash: number, batch: unknown, i: number): number {
    const candidates = this.#candidates;
    if (candidates === undefined) return this.#table.full ? -1 : this.#table.take(hash, batch, i);
    const candidate = candidates.see(hash, batch, i, this.#step, this.admitAfter);
    if (candidates.sightingsAt(candidate) < this.admitAfter || this.#table.full) return -1;
    candidates.forget(candidate);
    return this.#table.take(hash, batch, i);
  }

  #checkStep(step: unknown, argument = "step"): number {
    if (Number.isInteger(step) && (step as number) >= this.#step && (step as number) <= MOST_STEP) {
      return step as number;
    }
    const expected = `an integer from ${this.#step} (the step of the last call) to ${MOST_STEP}`;
    throw new ArgumentError({ argument, received: step, expected });
  }
}
