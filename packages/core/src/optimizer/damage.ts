import type { LaneDamage, LaneLostError } from "@shardgrad/workers";
import type { Damage } from "../errors/index.js";
import type { CheckedPair } from "../gradients/pairs.js";
import { variableInternals } from "../variable/internals.js";

/** What a lost lane means for the variables of a step, in their users' terms. */
export function variableDamage(
  { damage }: LaneLostError,
  { pairs }: { readonly pairs: readonly CheckedPair[] },
): Damage[] {
  return damage.map((part) => {
    const pair = pairs[part.update]!;
    const known = { variable: pair.variable.name, state: part.state };
    if (part.rows !== undefined) return { ...known, rows: rowsOf(pair, part.rows) };
    return part.elements === undefined ? known : { ...known, elements: part.elements };
  });
}

/** The rows of the step that a lane owned, in ascending order. */
function rowsOf({ variable, gradient }: CheckedPair, rows: NonNullable<LaneDamage["rows"]>): number[] {
  if (gradient.kind !== "slices") return [];
  const { storage, rowSize } = variable[variableInternals];
  const segment = storage.segments[rows.segment]!;
  const first = segment.start / rowSize;
  const end = first + segment.count / rowSize;
  const owned = new Set<number>();
  for (const row of gradient.indices) {
    if (row >= first && row < end && (((row - first) >>> rows.shift) & rows.mask) % rows.lanes === rows.lane)
      owned.add(row);
  }
  return [...owned].sort((a, b) => a - b);
}
