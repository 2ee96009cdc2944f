import type { Runtime, TypedArray } from "@shardgrad/core";
import fc from "fast-check";
import { typed } from "../support/library.js";
import { Random } from "../support/random.js";
import type {
  DTypeName,
  ReferenceGradient,
  ReferenceOptions,
  ReferenceVariable,
} from "../support/reference.js";
import { type Form, nest } from "../support/twin.js";

export const dtype: fc.Arbitrary<DTypeName> = fc.constantFrom("float32", "float32", "float64", "float16");

/** Any shape of few elements: scalars, empty ones, tails that are no multiple of a vector. */
export const shape: fc.Arbitrary<number[]> = fc.oneof(
  fc.constant<number[]>([]),
  fc.tuple(fc.integer({ min: 0, max: 70 })).map(([n]) => [n]),
  fc.array(fc.integer({ min: 0, max: 13 }), { minLength: 2, maxLength: 3 }),
  fc.tuple(fc.integer({ min: 900, max: 1100 }), fc.integer({ min: 1, max: 7 })).map(([n, k]) => [n, k]),
);

/** A table that sparse gradients can name rows of. */
export const tableShape: fc.Arbitrary<number[]> = fc
  .tuple(fc.integer({ min: 1, max: 300 }), fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 2 }))
  .map(([rows, rest]) => [rows, ...rest]);

const special = [
  Number.NaN,
  Infinity,
  -Infinity,
  0,
  -0,
  2 ** -149,
  -(2 ** -149),
  2 ** -127,
  2 ** -24,
  1e-30,
  3e38,
  -3e38,
];

/** Numbers that arrays are filled from: ordinary ones, and some that are not. */
export const palette: fc.Arbitrary<number[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.double({ min: -4, max: 4, noNaN: true }) },
    { weight: 2, arbitrary: fc.float() },
    { weight: 2, arbitrary: fc.constantFrom(...special) },
  ),
  { minLength: 1, maxLength: 24 },
);

/** Ordinary numbers only: a norm of them neither overflows nor cancels. */
export const tamePalette = fc.array(fc.double({ min: -4, max: 4, noNaN: true }), {
  minLength: 1,
  maxLength: 24,
});

/** Arrays of any length filled from a palette; half of the places get a random number of their own. */
export class Filler {
  readonly random: Random;

  constructor(
    readonly palette: readonly number[],
    seed: number,
  ) {
    this.random = new Random(seed);
  }

  values(count: number): Float64Array {
    return Float64Array.from({ length: count }, () =>
      this.random.next() < 0.5
        ? this.palette[this.random.below(this.palette.length)]!
        : this.random.next() * 2 - 1,
    );
  }

  dense(variable: ReferenceVariable): ReferenceGradient {
    return { dense: this.values(variable.values.length) };
  }

  slices(variable: ReferenceVariable, count: number): ReferenceGradient {
    const indices = this.random.indices(count, variable.shape[0]!, false);
    return { indices, values: this.values(count * variable.rowSize) };
  }
}

/** Options that leave the order of all arithmetic defined. */
export const exactOptions: fc.Arbitrary<ReferenceOptions> = fc.record(
  {
    learningRate: fc.oneof(
      fc.double({ min: -2, max: 2, noNaN: true }),
      fc.constantFrom(0, 1, 0.1, 1e30, 1e-30),
    ),
    initialAccumulatorValue: fc.constantFrom(0, 0.1, 1, 1e-8, 1e8),
    epsilon: fc.constantFrom(0, 1e-7, 1e-3, 1),
    clipvalue: fc.constantFrom(0, 0.5, 1e-3, 1e30),
    useEma: fc.boolean(),
    emaMomentum: fc.constantFrom(0, 0.5, 0.9, 0.99, 1),
    emaOverwriteFrequency: fc.constantFrom(1, 2, 3),
    duplicateIndices: fc.constantFrom("perSlice" as const, "perRow" as const),
    accumulator: fc.constantFrom("elementwise" as const, "rowwise" as const),
  },
  { requiredKeys: [] },
);

/** The ways in which a caller may hold a gradient. `release` gives back what they allocated. */
export function forms(runtime: Runtime): { make: Record<string, Form>; release(): void } {
  const held: TypedArray[] = [];
  const allocate = (length: number, dtype: DTypeName) => {
    const array = runtime.allocate(length, dtype);
    held.push(array);
    return array;
  };
  return {
    make: {
      typed: (values, dtype) => typed(dtype, values),
      unaligned: (values, dtype) =>
        typed(dtype, [7, ...Array.from(values), 7, 7]).subarray(1, 1 + values.length),
      nested: (values, _, shape) => nest(values, shape),
      shared: (values, dtype) => {
        const array = typed(dtype, values) as Float32Array;
        const copy = new (array.constructor as Float32ArrayConstructor)(
          new SharedArrayBuffer(array.byteLength + 8),
          8,
        );
        copy.set(array);
        return copy;
      },
      allocated: (values, dtype) => {
        const array = allocate(values.length, dtype);
        array.set(typed(dtype, values));
        return array;
      },
      unalignedAllocated: (values, dtype) => {
        const array = allocate(values.length + 3, dtype).subarray(3);
        array.set(typed(dtype, values));
        return array;
      },
    },
    release() {
      for (const array of held.splice(0)) runtime.release(array);
    },
  };
}

export const formName = fc.constantFrom(
  "typed",
  "unaligned",
  "nested",
  "shared",
  "allocated",
  "unalignedAllocated",
);
export const mode = fc.constantFrom("async" as const, "sync" as const);
export const seed = fc.integer({ min: 0, max: 2 ** 31 });
