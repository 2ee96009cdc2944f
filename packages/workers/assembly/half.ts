// Conversions between IEEE binary16 bit patterns and numbers: to nearest even, subnormals kept. The vector functions
// are not inlined: binary16 kernels call them after every operation, and would grow tenfold.

/** The binary16 bits nearest to a number; every NaN becomes the quiet one with the same sign. */
export function halfFromDouble(value: f64): u32 {
  const bits = reinterpret<u64>(value);
  const sign = <u32>(bits >> 48) & 0x8000;
  const magnitude = bits & 0x7fff_ffff_ffff_ffff;
  if (magnitude > 0x7ff0_0000_0000_0000) return sign | 0x7e00;
  // From 2^-14 down the spacing is 2^-24, which is the spacing of doubles at 2^28.
  if (magnitude < 0x3f10_0000_0000_0000) {
    return sign | <u32>(reinterpret<u64>(reinterpret<f64>(magnitude) + 268435456.0) & 0x7ff);
  }
  // 65520 and above round to infinity.
  if (magnitude >= 0x40ef_fe00_0000_0000) return sign | 0x7c00;
  const rounded = magnitude + 0x1ff_ffff_ffff + ((magnitude >> 42) & 1);
  return sign | (<u32>(rounded >> 42) - (1008 << 10));
}

/** The number that binary16 bits stand for. */
export function doubleFromHalf(bits: u32): f64 {
  const sign = (<u64>(bits & 0x8000)) << 48;
  const magnitude = bits & 0x7fff;
  let result: u64;
  if (magnitude >= 0x7c00) result = 0x7ff0_0000_0000_0000 | ((<u64>(magnitude & 0x3ff)) << 42);
  else if (magnitude < 0x400) result = reinterpret<u64>(<f64>magnitude * 5.9604644775390625e-8);
  else result = (<u64>(magnitude + (1008 << 10))) << 42;
  return reinterpret<f64>(sign | result);
}

export function halfFromDoubles(source: usize, target: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    store<u16>(target + (i << 1), <u16>halfFromDouble(load<f64>(source + (i << 3))));
  }
}

export function doublesFromHalf(source: usize, target: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    store<f64>(target + (i << 3), doubleFromHalf(load<u16>(source + (i << 1))));
  }
}

/** Four binary16 patterns in the low 64 bits, as four f32. */
export function widenHalves(bits: v128): v128 {
  const wide = i32x4.extend_low_i16x8_u(bits);
  const magnitude = i32x4.shl(v128.and(wide, i32x4.splat(0x7fff)), 13);
  // The exponent is 112 too small. Multiplying puts it right for subnormals too, but not for infinities and NaN.
  const scaled = f32x4.mul(magnitude, i32x4.splat(0x7780_0000));
  const special = v128.and(i32x4.ge_s(magnitude, i32x4.splat(0x0f80_0000)), i32x4.splat(0x7f80_0000));
  const sign = i32x4.shl(v128.and(wide, i32x4.splat(0x8000)), 16);
  return v128.or(v128.or(scaled, special), sign);
}

/** Four f32 that binary16 can represent, as patterns in the low 64 bits. */
export function narrowHalves(values: v128): v128 {
  const sign = v128.and(i32x4.shr_u(values, 16), i32x4.splat(0x8000));
  const magnitude = v128.and(values, i32x4.splat(0x7fff_ffff));
  const scaled = i32x4.shr_u(f32x4.mul(magnitude, i32x4.splat(0x0780_0000)), 13);
  const notANumber = v128.and(i32x4.gt_s(magnitude, i32x4.splat(0x7f80_0000)), i32x4.splat(0x200));
  const special = v128.or(i32x4.splat(0x7c00), notANumber);
  const finite = i32x4.lt_s(magnitude, i32x4.splat(0x7f80_0000));
  const bits = v128.or(v128.bitselect(scaled, special, finite), sign);
  return i16x8.narrow_i32x4_u(bits, bits);
}

/** Rounds four f32 to what binary16 can represent. After one f32 operation this is as exact as rounding once. */
export function roundToHalf(values: v128): v128 {
  const sign = v128.and(values, i32x4.splat(0x8000_0000));
  const magnitude = v128.xor(values, sign);
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  const up = i32x4.add(i32x4.add(magnitude, i32x4.splat(0xfff)), odd);
  const normal = v128.and(up, i32x4.splat(0xffff_e000));
  // Below 2^-14 the spacing is 2^-24, which is the spacing of f32 in [0.5, 1).
  const half = f32x4.splat(0.5);
  const small = f32x4.sub(f32x4.add(magnitude, half), half);
  let result = v128.bitselect(small, normal, i32x4.lt_s(magnitude, i32x4.splat(0x3880_0000)));
  const infinity = i32x4.splat(0x7f80_0000);
  result = v128.bitselect(infinity, result, i32x4.ge_s(magnitude, i32x4.splat(0x477f_f000)));
  result = v128.bitselect(magnitude, result, i32x4.gt_s(magnitude, infinity));
  return v128.or(result, sign);
}
