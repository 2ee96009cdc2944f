/**
 * @typedef {{ title: string, width: number, left?: boolean }} Column
 * @typedef {(string | number | undefined)[]} Cells
 */

/**
 * Lines of a table with fixed columns.
 * @param {readonly Column[]} columns
 * @param {readonly Cells[]} rows
 */
export function table(columns, rows) {
  const line = (/** @type {Cells} */ cells) =>
    columns
      .map(({ width, left }, i) => {
        const text = String(cells[i] ?? "");
        return left ? text.padEnd(width) : text.padStart(width);
      })
      .join("  ")
      .trimEnd();
  const rule = columns.map(({ width }) => "-".repeat(width)).join("  ");
  return [line(columns.map(({ title }) => title)), rule, ...rows.map(line)].join("\n");
}

/**
 * A duration with three significant digits.
 * @param {number} ns
 */
export function duration(ns) {
  if (!Number.isFinite(ns)) return "";
  if (ns < 1e3) return `${ns.toPrecision(3)} ns`;
  if (ns < 1e6) return `${(ns / 1e3).toPrecision(3)} µs`;
  if (ns < 1e9) return `${(ns / 1e6).toPrecision(3)} ms`;
  return `${(ns / 1e9).toPrecision(3)} s`;
}

/**
 * Three significant digits, without an exponent.
 * @param {number} value
 */
export function significant(value) {
  if (!Number.isFinite(value)) return "";
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value.toPrecision(3);
}

/** @param {number} value */
export const count = (value) => value.toLocaleString("en-US");
