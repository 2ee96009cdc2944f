/**
 * The float32 operations of the schedules. TensorFlow computes them in float32; pow, log and cos in double
 * precision rounded to float32 are within 1.1e-7 of it (relative).
 */

export const f32: (value: number) => number = Math.fround;

/** C's pow: unlike JavaScript's, 1 to any power is 1, and -1 to an infinite power is 1. */
export function pow32(base: number, exponent: number): number {
  if (base === 1 || (base === -1 && Math.abs(exponent) === Number.POSITIVE_INFINITY)) return 1;
  return f32(base ** exponent);
}

export function log32(value: number): number {
  return f32(Math.log(value));
}

/** The cosine of a fraction of half a turn: cos(π · fraction), with π a float32. */
export function cosPi32(fraction: number): number {
  return f32(Math.cos(f32(f32(Math.PI) * fraction)));
}
