/** IEEE 754 binary16, written for the tests on its own so that the library is not its own judge. */

const bits = new DataView(new ArrayBuffer(8));

export function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The nearest number that a half can hold, ties to even. */
export function roundHalf(value: number): number {
  if (value === 0 || !Number.isFinite(value)) return value;
  const magnitude = Math.abs(value);
  bits.setFloat64(0, magnitude);
  const exponent = Math.max((bits.getUint16(0) >> 4) - 1023, -14);
  const unit = 2 ** (exponent - 10);
  const scaled = magnitude / unit; // exact: a power of two
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const steps = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
  const rounded = steps * unit;
  const result = rounded > 65504 ? Number.POSITIVE_INFINITY : rounded;
  return value < 0 ? -result : result;
}

/** The binary16 bit pattern of a number. */
export function numberToHalf(value: number): number {
  const rounded = roundHalf(value);
  if (Number.isNaN(rounded)) return 0x7e00;
  const sign = rounded < 0 || Object.is(rounded, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(rounded);
  if (magnitude === Number.POSITIVE_INFINITY) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | (magnitude * 2 ** 24);
  bits.setFloat64(0, magnitude);
  const exponent = (bits.getUint16(0) >> 4) - 1023;
  return sign | ((exponent + 15) << 10) | ((magnitude / 2 ** exponent - 1) * 1024);
}
