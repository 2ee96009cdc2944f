import type { Runtime } from "../runtime/runtime.js";
import type { RowFollower } from "./followers.js";
import type { VariableHeader } from "./header.js";
import type { Initializer } from "./initializers.js";
import type { LazyAverage } from "./lazy-average.js";
import type { StoragePlan } from "./resize-plan.js";
import type { Storage } from "./storage.js";

/** Registered globally, so that a Variable of another copy of this package is recognized. */
export const variableInternals: unique symbol = Symbol.for("shardgrad.variable") as never;

/** What optimizers use of a variable. */
export interface VariableInternals {
  readonly name: string;
  readonly storage: Storage;
  readonly runtime: Runtime;
  readonly rowSize: number;
  /** What readers on other threads look at. */
  readonly header: VariableHeader;
  /** Of a slot that lies beside a model variable, shares its version words and follows its rows: that variable. */
  readonly model: VariableInternals | undefined;
  /** Keeps a small variable on one lane for its life. */
  readonly pin: number;
  /** Where it is to live: of a slot, where its model does. */
  place: "auto" | "cpu" | "gpu";
  /** What new rows start with, unless a resize says something else. */
  readonly initializer: Initializer;
  /** What is resized with the variable, in the order in which it came. */
  readonly followers: Set<RowFollower>;
  /** Averages that are brought up to date row by row: of this variable, or kept in it. At most one. */
  lazy?: LazyAverage | undefined;
  /** Of the last list of variables that was checked and has this one: a list that names it twice meets its own mark. */
  mark?: object | undefined;
  /** Shows another number of rows: the one place where segments and shape of a variable, or of a slot, change. */
  publish(rows: number, plan: StoragePlan): void;
}
