import type { Runtime } from "../runtime/runtime.js";
import type { VariableHeader } from "./header.js";
import type { LazyAverage } from "./lazy-average.js";
import type { Storage } from "./storage.js";

/** Registered globally, so that a Variable of another copy of this package is recognized. */
export const variableInternals: unique symbol = Symbol.for("shardgrad.variable") as never;

/** What optimizers use of a variable. */
export interface VariableInternals {
  readonly storage: Storage;
  readonly runtime: Runtime;
  readonly rowSize: number;
  /** What readers on other threads look at. */
  readonly header: VariableHeader;
  /** Of a slot that shares memories and version words: its model variable. */
  readonly model: VariableInternals | undefined;
  /** Keeps a small variable on one lane for its life. */
  readonly pin: number;
  /** Averages that are brought up to date row by row: of this variable, or kept in it. At most one. */
  lazy?: LazyAverage | undefined;
}
