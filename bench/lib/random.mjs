/**
 * mulberry32: small, seeded and good enough for benchmark data.
 * @param {number} seed
 * @returns {() => number} uniform in [0, 1)
 */
export function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * Fills an array with uniform values in [-0.5, 0.5). Every page is written: memory that nobody wrote is one
 * shared page of zeros, and reading that would look fast.
 * @param {Float32Array} array
 * @param {number} seed
 */
export function fill(array, seed) {
  let state = (seed * 2654435761) >>> 0;
  for (let i = 0; i < array.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    array[i] = state * 2.3283064365386963e-10;
  }
}

/**
 * `count` different rows in random order.
 * @param {number} rows
 * @param {number} count
 * @param {number} seed
 */
export function uniqueRows(rows, count, seed) {
  const random = generator(seed);
  const seen = new Set();
  const indices = new Int32Array(count);
  for (let i = 0; i < count; ) {
    const row = Math.floor(random() * rows);
    if (seen.has(row)) continue;
    seen.add(row);
    indices[i++] = row;
  }
  return indices;
}

/**
 * `count` rows with duplicates, drawn by `zipfSampler`.
 * @param {number} rows
 * @param {number} count
 * @param {number} exponent
 * @param {number} seed
 */
export function zipfRows(rows, count, exponent, seed) {
  return Int32Array.from({ length: count }, zipfSampler(rows, exponent, generator(seed)));
}

/**
 * Draws rows: rank k with probability proportional to k^-exponent, and ranks are scattered over the table, since hot
 * rows of a real table are not neighbours.
 * @param {number} rows
 * @param {number} exponent
 * @param {() => number} random
 * @returns {() => number}
 */
export function zipfSampler(rows, exponent, random) {
  const cumulative = new Float64Array(rows);
  let total = 0;
  for (let rank = 0; rank < rows; rank++) {
    total += (rank + 1) ** -exponent;
    cumulative[rank] = total;
  }
  // A multiplication by a number without a common factor with `rows` is a permutation of the rows.
  const stride = coprime(rows, Math.floor(rows * 0.6180339887));
  return () => {
    const target = random() * total;
    let low = 0;
    let high = rows - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cumulative[middle] < target) low = middle + 1;
      else high = middle;
    }
    return (low * stride) % rows;
  };
}

/**
 * @param {number} modulus
 * @param {number} from
 */
function coprime(modulus, from) {
  for (let candidate = from; ; candidate++) {
    let [a, b] = [modulus, candidate];
    while (b) [a, b] = [b, a % b];
    if (a === 1) return candidate;
  }
}
