// Sums of squares in float64, in fixed blocks and a fixed order, so that no split over threads changes a norm.
import { doubleFromHalf } from "./half";

/** Elements of one partial sum. */
export const normBlock: u32 = 4096;

/** partials[i] = the sum of squares of block i; the last block may be shorter. */
export function sumSquares<T>(values: usize, count: u32, partials: usize): void {
  let at: usize = values;
  let left = count;
  while (left > 0) {
    const taken = min<u32>(left, normBlock);
    store<f64>(partials, blockSum<T>(at, taken));
    partials += 8;
    at += taken * <u32>sizeof<T>();
    left -= taken;
  }
}

/**
 * Elements i mod 8 go to eight running sums, added as pairs of pairs: with s01 = (s0, s1) and so on,
 * (s01 + s23) + (s45 + s67), then its two lanes, then the up to seven elements left over, one by one.
 */
@inline
function blockSum<T>(values: usize, count: u32): f64 {
  let s01 = f64x2.splat(0);
  let s23 = f64x2.splat(0);
  let s45 = f64x2.splat(0);
  let s67 = f64x2.splat(0);
  let at = values;
  for (let groups = count >> 3; groups > 0; groups--) {
    s01 = f64x2.add(s01, squared(loadPair<T>(at)));
    s23 = f64x2.add(s23, squared(loadPair<T>(at + 2 * sizeof<T>())));
    s45 = f64x2.add(s45, squared(loadPair<T>(at + 4 * sizeof<T>())));
    s67 = f64x2.add(s67, squared(loadPair<T>(at + 6 * sizeof<T>())));
    at += 8 * sizeof<T>();
  }
  const all = f64x2.add(f64x2.add(s01, s23), f64x2.add(s45, s67));
  let sum = f64x2.extract_lane(all, 0) + f64x2.extract_lane(all, 1);
  for (let rest = count & 7; rest > 0; rest--) {
    const value = loadDouble<T>(at);
    sum += value * value;
    at += sizeof<T>();
  }
  return sum;
}

@inline
function squared(pair: v128): v128 {
  return f64x2.mul(pair, pair);
}

@inline
function loadPair<T>(address: usize): v128 {
  if (sizeof<T>() === 8) return v128.load(address);
  if (sizeof<T>() === 4) return f64x2.promote_low_f32x4(v128.load64_zero(address));
  return f64x2.replace_lane(f64x2.splat(loadDouble<T>(address)), 1, loadDouble<T>(address + 2));
}

@inline
function loadDouble<T>(address: usize): f64 {
  if (sizeof<T>() === 8) return load<f64>(address);
  return sizeof<T>() === 4 ? <f64>load<f32>(address) : doubleFromHalf(load<u16>(address));
}

/** `sum` and then the partial sums, first to last. */
export function sumPartials(partials: usize, count: u32, sum: f64): f64 {
  for (let i: u32 = 0; i < count; i++) sum += load<f64>(partials + (i << 3));
  return sum;
}
