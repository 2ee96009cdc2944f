import type { Runtime } from "../runtime/runtime.js";
import type { Storage } from "./storage.js";

/** Registered globally, so that a Variable of another copy of this package is recognized. */
export const variableInternals: unique symbol = Symbol.for("shardgrad.variable") as never;

/** What optimizers use of a variable. */
export interface VariableInternals {
  readonly storage: Storage;
  readonly runtime: Runtime;
  readonly rowSize: number;
  /** Keeps a small variable on one lane for its life. */
  readonly pin: number;
  /** Where it is to live. */
  readonly place: "auto" | "cpu" | "gpu";
}
