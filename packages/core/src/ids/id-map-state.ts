import { ArgumentError } from "../errors/index.js";
import type { Candidates, SavedCandidates } from "./candidates.js";
import { IntegerKeys } from "./integer-keys.js";
import type { Keys } from "./keys.js";
import type { RowTable, SavedRows } from "./row-table.js";
import { StringKeys } from "./string-keys.js";
import { tagOf } from "./words.js";

/** What the ids of a map are: 64-bit integers with or without a sign, or strings. */
export type IdType = "int64" | "uint64" | "string";

/** An {@link IdMap} as plain data: typed arrays, numbers and strings, which `structuredClone` copies. */
export interface IdMapState extends SavedRows, SavedCandidates {
  readonly version: 1;
  readonly idType: IdType;
  readonly capacity: number;
  readonly admitAfter: number;
  readonly expireAfter: number;
  readonly maxCandidates: number;
  /** The step of the last call. */
  readonly step: number;
}

/** Keys of a type, with room for so many; undefined for an unknown type. */
export function keysOf(idType: unknown, capacity: number): Keys<unknown> | undefined {
  if (idType === "string") return new StringKeys();
  if (idType === "int64" || idType === "uint64") return new IntegerKeys(capacity, idType === "int64");
  return undefined;
}

function refuse(name: string, received: unknown, expected: string): ArgumentError {
  return new ArgumentError({ argument: `state.${name}`, received, expected });
}

/** A Uint32Array of the state, with numbers from `least` to `most`, `length` of them. */
function numbers(
  state: IdMapState,
  name: "rows" | "rowSteps" | "freeRows" | "candidateSightings" | "candidateSteps",
  { least = 0, most, length }: { least?: number; most: number; length?: number },
): Uint32Array {
  const list: unknown = state[name];
  if (tagOf(list) !== "Uint32Array") throw refuse(name, list, "a Uint32Array");
  const checked = list as Uint32Array;
  if (length !== undefined && checked.length !== length) throw refuse(name, list, `${length} numbers`);
  for (const number of checked) {
    if (number < least || number > most) throw refuse(name, number, `numbers from ${least} to ${most}`);
  }
  return checked;
}

/** The rows in use and the free ones must be the first rows of the table, each once. */
function checkRows(state: IdMapState): void {
  const most = state.capacity - 1;
  const rows = numbers(state, "rows", { most });
  const freeRows = numbers(state, "freeRows", { most });
  const seen = new Uint8Array(Math.min(state.capacity, rows.length + freeRows.length));
  for (const [name, list] of Object.entries({ rows, freeRows })) {
    for (const row of list) {
      if (row >= seen.length || seen[row] === 1) {
        throw refuse(name, row, "`rows` and `freeRows` to be the first rows of the table, each once");
      }
      seen[row] = 1;
    }
  }
  numbers(state, "rowSteps", { most: state.step, length: rows.length });
}

function checkCandidates(state: IdMapState, length: number): void {
  const most = state.admitAfter > 1 ? state.maxCandidates : 0;
  if (length > most) throw refuse("candidateIds", state.candidateIds, `at most ${most} ids`);
  numbers(state, "candidateSightings", { least: 1, most: state.admitAfter, length });
  const steps = numbers(state, "candidateSteps", { most: state.step, length });
  const falling = steps.findIndex((step, i) => i > 0 && step < steps[i - 1]!);
  if (falling >= 0) throw refuse("candidateSteps", steps[falling], "steps in ascending order");
}

/** Checks a state whose numbers are those of a map, and puts its ids into the empty parts of that map. */
export function loadState<Batch>(
  state: IdMapState,
  table: RowTable<Batch>,
  candidates: Candidates<Batch> | undefined,
): void {
  const { keys } = table.index;
  checkRows(state);
  const rowIds = keys.load(state.rowIds, "state.rowIds");
  const rowCount = state.rows.length;
  if (rowIds.length !== rowCount) {
    throw refuse("rowIds", state.rowIds, `${rowCount} ids, one for each row`);
  }
  const candidateIds = keys.load(state.candidateIds, "state.candidateIds");
  checkCandidates(state, candidateIds.length);
  if (!table.load(state, rowIds)) throw refuse("rowIds", state.rowIds, "each id once");
  if (candidates === undefined) return;
  const { batch, length } = candidateIds;
  for (let i = 0; i < length; i++) {
    const hash = keys.hashOf(batch, i);
    if (table.index.find(hash, batch, i) < 0 && candidates.find(hash, batch, i) < 0) {
      candidates.add(hash, batch, i, state.candidateSteps[i]!, state.candidateSightings[i]!);
    } else {
      throw refuse("candidateIds", state.candidateIds, "each id once, and none that has a row");
    }
  }
}
