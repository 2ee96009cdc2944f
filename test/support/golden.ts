import { readFileSync } from "node:fs";

/** The recorded data of Keras 2.9.0, as its README (golden/data/README.md) describes it. */

export type GoldenNumber = number | "NaN" | "Infinity" | "-Infinity";

export interface GoldenError {
  readonly type: string;
  readonly message: string;
  readonly origin: "keras" | "tensorflow" | "python";
}

export type GoldenGradient =
  | null
  | { readonly dense: readonly GoldenNumber[] }
  | { readonly indices: readonly number[]; readonly values: readonly (readonly GoldenNumber[])[] };

export interface GoldenVariable {
  readonly name: string | null;
  readonly shape: readonly number[];
  readonly dtype: "float32" | "float64" | "float16";
  readonly initial: readonly GoldenNumber[];
}

export interface GoldenState {
  readonly learning_rate: GoldenNumber;
  readonly iterations: number;
  readonly variables: readonly (readonly GoldenNumber[])[];
  readonly accumulators: readonly (readonly GoldenNumber[])[] | null;
  readonly averages: readonly (readonly GoldenNumber[])[] | null;
}

export interface GoldenStep extends GoldenState {
  readonly order?: readonly number[];
  readonly gradients: readonly GoldenGradient[];
  readonly skip_gradients_aggregation?: boolean;
  readonly set_learning_rate?: number;
  readonly error?: GoldenError;
  readonly loss?: GoldenNumber | readonly GoldenNumber[];
}

export interface Trajectory {
  readonly name: string;
  readonly constructor: Readonly<Record<string, unknown>>;
  readonly config: Readonly<Record<string, unknown>>;
  readonly variables: readonly GoldenVariable[];
  readonly set_iterations?: number;
  readonly initial_learning_rate: GoldenNumber;
  readonly build_order: readonly number[] | null;
  readonly slot_names?: {
    readonly accumulators: readonly string[] | null;
    readonly averages: readonly string[] | null;
    readonly all: readonly string[];
  };
  readonly steps: readonly GoldenStep[];
  readonly finalized?: {
    readonly order: readonly number[];
    readonly variables?: readonly (readonly GoldenNumber[])[];
    readonly error?: GoldenError;
  };
  readonly match: "exact" | "reduction" | "reduction16" | "reduction64" | "transcendental" | "flush";
  readonly rtol: number;
  readonly atol: number;
  readonly loss?: { readonly formula: string; readonly parameters: Readonly<Record<string, unknown>> };
}

/** The cases of one golden file. */
export function golden<Case = Trajectory>(family: string): readonly Case[] {
  const file = new URL(`../golden/data/${family}.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { cases: Case[] }).cases;
}

/** A recorded number; non-finite ones are written as strings. */
export function number(value: GoldenNumber): number {
  return typeof value === "string" ? Number(value) : value;
}

export function numbers(values: readonly GoldenNumber[]): number[] {
  return values.map(number);
}

/** "use_ema" to "useEma". */
export function camelCase(key: string): string {
  return key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

const nonFinite = new Set(["NaN", "Infinity", "-Infinity"]);

/** A copy of recorded JSON with the non-finite numbers in place of their strings. */
export function revive<T>(value: T): T {
  if (typeof value === "string" && nonFinite.has(value)) return Number(value) as T;
  if (Array.isArray(value)) return value.map(revive) as T;
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, revive(entry)])) as T;
}

/** The recorded keyword arguments; not `case.constructor`, which every JavaScript object has. */
export function argumentsOf(recorded: object): Readonly<Record<string, unknown>> {
  return Object.hasOwn(recorded, "constructor") ? (recorded.constructor as never) : {};
}

/** Keras' text as ours must read: names without TensorFlow's ":0", 1.0 as JavaScript prints it. */
export function ourMessage(message: string): string {
  return message.replaceAll(":0", "").replace(/(\d)\.0(?!\d)/g, "$1");
}
