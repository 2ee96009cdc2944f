/**
 * @typedef {object} Summary
 * @property {number} median
 * @property {number} min
 * @property {number} p10
 * @property {number} p90
 * @property {number} count
 */

/**
 * A percentile by linear interpolation, as NumPy's default.
 * @param {number[]} sorted
 * @param {number} percent
 */
export function percentile(sorted, percent) {
  if (sorted.length === 0) return Number.NaN;
  const at = ((sorted.length - 1) * percent) / 100;
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}

/**
 * @param {readonly number[]} samples
 * @returns {Summary}
 */
export function summarize(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  return {
    median: percentile(sorted, 50),
    min: sorted[0] ?? Number.NaN,
    p10: percentile(sorted, 10),
    p90: percentile(sorted, 90),
    count: sorted.length,
  };
}
