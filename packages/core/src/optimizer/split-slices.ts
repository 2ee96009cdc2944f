/** The slices of a gradient, taken apart by the segments of a variable. */
export interface SplitSlices {
  /** The segment of each slice. */
  readonly owners: Uint32Array;
  /** For each segment its slices' row numbers, counted from its first row. */
  readonly rows: readonly Uint32Array[];
}

/**
 * @param indices row numbers of the variable
 * @param firsts the first row of each segment, ascending; 0 comes first
 */
export function splitSlices(indices: Uint32Array, firsts: readonly number[]): SplitSlices {
  const owners = new Uint32Array(indices.length);
  const counts = new Uint32Array(firsts.length);
  for (let slice = 0; slice < indices.length; slice++) {
    const row = indices[slice]!;
    let owner = 0;
    while (owner + 1 < firsts.length && row >= firsts[owner + 1]!) owner++;
    owners[slice] = owner;
    counts[owner]!++;
  }
  const rows = Array.from(counts, (count) => new Uint32Array(count));
  counts.fill(0);
  for (let slice = 0; slice < indices.length; slice++) {
    const owner = owners[slice]!;
    rows[owner]![counts[owner]!++] = indices[slice]! - firsts[owner]!;
  }
  return { owners, rows };
}
