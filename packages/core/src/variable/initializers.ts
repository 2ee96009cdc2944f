import type { DType, TypedArray } from "@shardgrad/workers";
import { DtypeError, OptionError, ShapeError } from "../errors/index.js";
import { normalSource, uniformSource } from "./random.js";
import {
  bitsOf,
  dtypeOfArray,
  flatten,
  type NestedArray,
  shapeOfNested,
  sizeOf,
  writeNumbers,
} from "./values.js";

/**
 * Fills a new variable: a name, or a function that returns its values, flat or nested. A Uint16Array holds the bit patterns of
 * a float16 variable, as everywhere, and numbers for others.
 */
export type Initializer =
  | "zeros"
  | "ones"
  | ((shape: readonly number[], dtype: DType) => NestedArray | ArrayLike<number>);

/** The options of `Variable.uniform`, beside those of every variable. */
export interface UniformOptions {
  /** Default 0. */
  readonly min?: number | undefined;
  /** Default 1. */
  readonly max?: number | undefined;
  /** Any 32-bit integer; random when absent. */
  readonly seed?: number | undefined;
}

/** The options of `Variable.normal`, beside those of every variable. */
export interface NormalOptions {
  /** Default 0. */
  readonly mean?: number | undefined;
  /** Default 1. */
  readonly stddev?: number | undefined;
  /** Any 32-bit integer; random when absent. */
  readonly seed?: number | undefined;
}

/** Writes the elements from flat offset `start` on into a view. Called for the parts of a variable in order. */
export type Fill = (view: TypedArray, start: number) => void;

/** A segment that is still to be filled. */
export interface PendingFill {
  readonly view: TypedArray;
  readonly start: number;
  readonly fill: Fill;
}

/** An initializer of this package that writes in place, so that a large table needs no second copy. */
interface FillingInitializer {
  readonly filler?: (dtype: DType) => Fill;
  /** Whether it copies another variable, whose new rows are then copied, too. */
  readonly copies?: boolean;
}

export function uniform({ min = 0, max = 1, seed }: UniformOptions): Initializer {
  checkFinite("min", min);
  checkFinite("max", max);
  if (min > max)
    throw new OptionError({ argument: "max", received: max, expected: `a number not below min (${min})` });
  const source = uniformSource(checkSeed(seed));
  return drawing(() => min + (max - min) * source());
}

export function normal({ mean = 0, stddev = 1, seed }: NormalOptions): Initializer {
  checkFinite("mean", mean);
  checkFinite("stddev", stddev);
  if (stddev < 0)
    throw new OptionError({ argument: "stddev", received: stddev, expected: "a number, 0 or more" });
  const source = normalSource(checkSeed(seed));
  return drawing(() => mean + stddev * source());
}

function drawing(draw: () => number): Initializer {
  return filling((dtype) => (view) => {
    if (dtype === "float16") writeNumbers(dtype, view, Array.from(view, draw));
    else for (let i = 0; i < view.length; i++) view[i] = draw();
  });
}

/** Every element the same number. */
export function filled(value: number): Initializer {
  // New memory is zero already.
  return Object.is(value, 0) ? "zeros" : filling((dtype) => constant(dtype, value));
}

/** Whatever a function writes into each segment. */
export function filling(filler: (dtype: DType) => Fill, copies = false): Initializer {
  return Object.assign(() => [], { filler, copies });
}

/** Whether new rows are copied from the model variable rather than made by the initializer. */
export function isCopy(initializer: Initializer): boolean {
  return typeof initializer === "function" && (initializer as FillingInitializer).copies === true;
}

/** What fills rows that are added, counted from the first of them; undefined: zeros. */
export function newValues(
  initializer: Initializer,
  shape: readonly number[],
  dtype: DType,
): Fill | undefined {
  return initializer === "zeros" ? undefined : initialValues(initializer, shape, dtype);
}

function checkFinite(argument: string, value: unknown): void {
  if (!Number.isFinite(value))
    throw new OptionError({ argument, received: value, expected: "a finite number" });
}

function checkSeed(seed: number | undefined): number {
  if (seed === undefined) return Math.floor(Math.random() * 4_294_967_296);
  if (Number.isSafeInteger(seed)) return seed | 0;
  throw new OptionError({ argument: "seed", received: seed, expected: "an integer" });
}

/** How to write a value of a known shape and dtype, everything checked before the first element is written. */
export function initialValues(
  value: NestedArray | TypedArray | Initializer,
  shape: readonly number[],
  dtype: DType,
  argument = "initialValue",
): Fill {
  if (value === "zeros") return () => {};
  if (value === "ones") return constant(dtype, 1);
  if (typeof value === "string") {
    throw new OptionError({
      argument: "initializer",
      received: value,
      expected: '"zeros", "ones" or a function',
    });
  }
  if (typeof value === "function") return fromInitializer(value, shape, dtype);
  if (ArrayBuffer.isView(value)) {
    const source = bitsOf(value as TypedArray);
    return (view, start) => view.set(source.subarray(start, start + view.length));
  }
  const flat = flatten(value, shapeOfNested(value), argument);
  return (view, start) => writeNumbers(dtype, view, flat, start);
}

function constant(dtype: DType, value: number): Fill {
  return (view) => {
    writeNumbers(dtype, view.subarray(0, Math.min(1, view.length)), [value]);
    if (view.length > 0) view.fill(view[0]!);
  };
}

function fromInitializer(
  initializer: Exclude<Initializer, string>,
  shape: readonly number[],
  dtype: DType,
): Fill {
  const { filler } = initializer as FillingInitializer;
  if (filler !== undefined) return filler(dtype);
  // A copy of the shape, which is the caller's to change.
  const result: unknown = initializer([...shape], dtype);
  if (result instanceof Promise) result.catch(() => {}); // refused below, whatever becomes of it
  const argument = "initializer";
  const flat = ArrayBuffer.isView(result)
    ? numbersOf(result)
    : flatten(result as NestedArray, shapeOfNested(result as NestedArray), argument);
  if (flat.length !== sizeOf(shape)) {
    const expected = `values of shape [${shape.join(", ")}]`;
    throw new ShapeError({ argument, received: result, expected });
  }
  if (ArrayBuffer.isView(result) && dtypeOfArray(result) === dtype) {
    const source = bitsOf(flat as TypedArray);
    return (view, start) => view.set(source.subarray(start, start + view.length));
  }
  return (view, start) => writeNumbers(dtype, view, flat, start);
}

/** @throws DtypeError for a view of anything but numbers */
function numbersOf(view: ArrayBufferView): ArrayLike<number> {
  const isOther = view instanceof DataView || view instanceof BigInt64Array || view instanceof BigUint64Array;
  if (!isOther) return view as unknown as ArrayLike<number>;
  throw new DtypeError({ argument: "initializer", received: view, expected: "a typed array of numbers" });
}
