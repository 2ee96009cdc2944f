// Validation of row numbers.

/** Position of the first index that is not below `rows`, or -1. */
export function checkIndices(indices: usize, count: u32, rows: u32): i32 {
  const limit = i32x4.splat(rows);
  let i: u32 = 0;
  // Whole groups of 16 first; the group that fails is looked at one by one below.
  for (; i + 16 <= count; i += 16) {
    const at = indices + (i << 2);
    const low = v128.or(i32x4.ge_u(v128.load(at), limit), i32x4.ge_u(v128.load(at, 16), limit));
    const high = v128.or(i32x4.ge_u(v128.load(at, 32), limit), i32x4.ge_u(v128.load(at, 48), limit));
    if (v128.any_true(v128.or(low, high))) break;
  }
  for (; i < count; i++) {
    if (load<u32>(indices + (i << 2)) >= rows) return <i32>i;
  }
  return -1;
}
