import type { DType } from "@shardgrad/workers";
import { OptionError } from "../errors/index.js";
import type { Runtime } from "../runtime/runtime.js";
import type { Initializer, PendingFill } from "./initializers.js";
import { MOST_ROWS, rowSizeOf } from "./values.js";
import type { Variable } from "./variable.js";

/** The options of {@link Variable} and of its static methods. */
export interface VariableOptions {
  /** Default "Variable". Slots are named after it. */
  readonly name?: string | undefined;
  /** Needed with an initializer; otherwise the value's own shape, or any of the same size. */
  readonly shape?: readonly number[] | undefined;
  /** Default float32, or what a typed array holds. */
  readonly dtype?: DType | undefined;
  /** Where the memory comes from; default `Runtime.default()`. */
  readonly runtime?: Runtime | undefined;
  /** Default true. Optimizer slots are not trainable. */
  readonly trainable?: boolean | undefined;
  /**
   * Rows to which `resizeRows` can grow the variable in place, so that `data` stays one array, as far as one memory
   * takes them (about 870 MiB). Only address space is reserved. Default: the rows of `shape`.
   */
  readonly reserveRows?: number | undefined;
  /**
   * Where the variable, its accumulators and averages live when the runtime has a device: `gpu` wherever that can be,
   * `cpu` never there, `auto` (the default) by size and use. See docs/gpu.md.
   */
  readonly device?: "auto" | "cpu" | "gpu" | undefined;
}

const optionNames = new Set(["name", "shape", "dtype", "runtime", "trainable", "reserveRows", "device"]);

/** @throws OptionError for an option that is unknown, or no device */
export function checkNames(options: VariableOptions): void {
  if (typeof options !== "object" || options === null) {
    throw new OptionError({ argument: "options", received: options, expected: "an object of options" });
  }
  const { device = "auto" } = options;
  if (device !== "auto" && device !== "cpu" && device !== "gpu") {
    throw new OptionError({ argument: "device", received: device, expected: '"auto", "cpu" or "gpu"' });
  }
  for (const [name, value] of Object.entries(options)) {
    if (optionNames.has(name)) continue;
    const message = `Unknown option \`${name}\` of Variable.`;
    throw new OptionError({
      argument: name,
      received: value,
      expected: [...optionNames].join(", "),
      message,
    });
  }
}

export function isInitializer(value: unknown): value is Initializer {
  return typeof value === "string" || typeof value === "function";
}

/** Rows to reserve. @throws OptionError */
export function checkReserve(rows: number | undefined, shape: readonly number[]): number {
  if (rows === undefined) return 0;
  if (
    shape.length > 0 &&
    Number.isSafeInteger(rows) &&
    rows >= 0 &&
    rows <= MOST_ROWS &&
    Number.isSafeInteger(rows * rowSizeOf(shape))
  ) {
    return rows;
  }
  const expected =
    shape.length === 0 ? "nothing, as a scalar has no rows" : `an integer from 0 to ${MOST_ROWS}`;
  throw new OptionError({ argument: "reserveRows", received: rows, expected });
}

/** Options of slots that share the memories of a model variable; not part of the public options. */
const beside: unique symbol = Symbol("beside");
const fillLater: unique symbol = Symbol("fillLater");

export function besideOptions(model: Variable, later: PendingFill[] | undefined): VariableOptions {
  return { [beside]: model, [fillLater]: later } as VariableOptions;
}

export function laterOf(options: VariableOptions): PendingFill[] | undefined {
  return (options as { [fillLater]?: PendingFill[] })[fillLater];
}

export function besideOf(options: VariableOptions): Variable | undefined {
  return (options as { [beside]?: Variable })[beside];
}
