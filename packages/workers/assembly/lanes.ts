// One vector of elements of any dtype. T is f32, f64, or u16 for binary16, which is computed in f32 lanes and
// rounded after every operation. All kernels are written once on top of this; the compiler specialises them.
import { doubleFromHalf, halfFromDouble, narrowHalves, roundToHalf, widenHalves } from "./half";

/** Bytes of one full vector in memory: four f32, two f64, four binary16. */
@inline
export function vectorBytes<T>(): u32 {
  return sizeof<T>() === 2 ? 8 : 16;
}

@inline
export function loadVector<T>(address: usize): v128 {
  return sizeof<T>() === 2 ? widenHalves(v128.load64_zero(address)) : v128.load(address);
}

@inline
export function storeVector<T>(address: usize, value: v128): void {
  if (sizeof<T>() === 2) v128.store64_lane(address, narrowHalves(value), 0);
  else v128.store(address, value);
}

/**
 * The last elements of an array, fewer than a vector: `bytes` of them. The other lanes are zero and are
 * never stored. The same instructions as for full vectors give the same bits.
 */
export function loadPart<T>(address: usize, bytes: u32): v128 {
  if (sizeof<T>() === 8) return v128.load64_zero(address);
  if (sizeof<T>() === 4) {
    if (bytes === 4) return v128.load32_zero(address);
    const two = v128.load64_zero(address);
    return bytes === 8 ? two : v128.load32_lane(address + 8, two, 2);
  }
  if (bytes === 2) return widenHalves(v128.load16_lane(address, i32x4.splat(0), 0));
  const two = v128.load32_zero(address);
  return widenHalves(bytes === 4 ? two : v128.load16_lane(address + 4, two, 2));
}

export function storePart<T>(address: usize, value: v128, bytes: u32): void {
  if (sizeof<T>() === 8) {
    v128.store64_lane(address, value, 0);
  } else if (sizeof<T>() === 4) {
    if (bytes === 4) {
      v128.store32_lane(address, value, 0);
    } else {
      v128.store64_lane(address, value, 0);
      if (bytes === 12) v128.store32_lane(address + 8, value, 2);
    }
  } else {
    const bits = narrowHalves(value);
    if (bytes === 2) {
      v128.store16_lane(address, bits, 0);
    } else {
      v128.store32_lane(address, bits, 0);
      if (bytes === 6) v128.store16_lane(address + 4, bits, 2);
    }
  }
}

/** A full vector, or the last bytes of an array. */
@inline
export function loadUpTo<T>(address: usize, bytes: u32): v128 {
  return bytes === vectorBytes<T>() ? loadVector<T>(address) : loadPart<T>(address, bytes);
}

@inline
export function storeUpTo<T>(address: usize, value: v128, bytes: u32): void {
  if (bytes === vectorBytes<T>()) storeVector<T>(address, value);
  else storePart<T>(address, value, bytes);
}

/** A scalar rounded once to the dtype, in every lane. */
@inline
export function splat<T>(value: f64): v128 {
  if (sizeof<T>() === 8) return f64x2.splat(value);
  if (sizeof<T>() === 4) return f32x4.splat(<f32>value);
  return f32x4.splat(<f32>doubleFromHalf(halfFromDouble(value)));
}

@inline
export function add<T>(a: v128, b: v128): v128 {
  if (sizeof<T>() === 8) return f64x2.add(a, b);
  return sizeof<T>() === 4 ? f32x4.add(a, b) : roundToHalf(f32x4.add(a, b));
}

@inline
export function subtract<T>(a: v128, b: v128): v128 {
  if (sizeof<T>() === 8) return f64x2.sub(a, b);
  return sizeof<T>() === 4 ? f32x4.sub(a, b) : roundToHalf(f32x4.sub(a, b));
}

@inline
export function multiply<T>(a: v128, b: v128): v128 {
  if (sizeof<T>() === 8) return f64x2.mul(a, b);
  return sizeof<T>() === 4 ? f32x4.mul(a, b) : roundToHalf(f32x4.mul(a, b));
}

@inline
export function divide<T>(a: v128, b: v128): v128 {
  if (sizeof<T>() === 8) return f64x2.div(a, b);
  return sizeof<T>() === 4 ? f32x4.div(a, b) : roundToHalf(f32x4.div(a, b));
}

@inline
export function squareRoot<T>(a: v128): v128 {
  if (sizeof<T>() === 8) return f64x2.sqrt(a);
  return sizeof<T>() === 4 ? f32x4.sqrt(a) : roundToHalf(f32x4.sqrt(a));
}

/** Limits to [-limit, limit]; a NaN stays (the pseudo-minimum keeps its first operand unless the other is less). */
@inline
export function limit<T>(value: v128, bound: v128): v128 {
  if (sizeof<T>() === 8) return f64x2.pmax(f64x2.pmin(value, bound), f64x2.neg(bound));
  return f32x4.pmax(f32x4.pmin(value, bound), f32x4.neg(bound));
}
