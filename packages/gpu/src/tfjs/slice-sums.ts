import type { RowGroups } from "../execute/row-groups.js";
import { ROW_GROUP_WORDS } from "../kernels/table.js";
import type { Scalars } from "./scalars.js";
import type { Tf, TfTensor } from "./tf.js";

/** Adds what slices have by the rows that they name: of [slices, n] makes [rows, n]. */
export interface SliceSums {
  /** Sums from +0. */
  of(slices: TfTensor): TfTensor;
  /** Adds to what the rows have. */
  onto(before: TfTensor, slices: TfTensor): TfTensor;
}

/** For slices of different rows. */
export function singleSlices(tf: Tf, scalars: Scalars): SliceSums {
  return {
    // A sum is never -0.
    of: (slices) => tf.add(slices, scalars.of(0)),
    onto: (before, slices) => tf.add(before, slices),
  };
}

/** In list order, as the CPU's kernels: for back ends whose `scatterND` adds in that order. */
export function slicesInOrder(tf: Tf, { order, groups }: RowGroups): SliceSums {
  const rows = groups.length / ROW_GROUP_WORDS;
  const slots = new Int32Array(rows + order.length);
  for (let row = 0; row < rows; row++) {
    slots[row] = row;
    const at = row * ROW_GROUP_WORDS;
    for (let k = groups[at + 1]!; k < groups[at + 2]!; k++) slots[rows + order[k]!] = row;
  }
  const column = (numbers: Int32Array) => tf.tensor(numbers, [numbers.length, 1], "int32");
  return {
    of: (slices) => tf.scatterND(column(slots.slice(rows)), slices, [rows, slices.shape[1]!]),
    onto: (before, slices) =>
      tf.scatterND(column(slots), tf.concat([before, slices], 0), [rows, slices.shape[1]!]),
  };
}

/**
 * In pairs, then pairs of pairs: an order of its own, but a fixed one, for back ends whose `scatterND` adds by atomic
 * operations, in any order.
 */
export function slicesInPairs(tf: Tf, rowGroups: RowGroups): SliceSums {
  const of = (slices: TfTensor) => {
    let sums = slices;
    for (const { first, second } of pairings(rowGroups)) {
      const columns = sums.shape[1]!;
      const nothing = tf.tensor(new Float32Array(columns), [1, columns], "float32");
      const padded = tf.concat([sums, nothing], 0);
      const rows = (numbers: Int32Array) => tf.tensor(numbers, [numbers.length], "int32");
      sums = tf.add(tf.gather(padded, rows(first)), tf.gather(padded, rows(second)));
    }
    return sums;
  };
  return { of, onto: (before, slices) => tf.add(before, of(slices)) };
}

/** For each round which two to add. A position after the last stands for nothing. */
function* pairings({ order, groups }: RowGroups): Generator<{ first: Int32Array; second: Int32Array }> {
  let lengths = Uint32Array.from(
    { length: groups.length / ROW_GROUP_WORDS },
    (_, row) => groups[row * ROW_GROUP_WORDS + 2]! - groups[row * ROW_GROUP_WORDS + 1]!,
  );
  let numbers = order;
  for (let isFirst = true; isFirst || numbers.length > lengths.length; isFirst = false) {
    const halved = lengths.map((length) => Math.ceil(length / 2));
    const count = halved.reduce((sum, length) => sum + length, 0);
    const first = new Int32Array(count);
    const second = new Int32Array(count).fill(numbers.length);
    let at = 0;
    let from = 0;
    for (const length of lengths) {
      for (let k = 0; k < length; k += 2, at++) {
        first[at] = numbers[from + k]!;
        if (k + 1 < length) second[at] = numbers[from + k + 1]!;
      }
      from += length;
    }
    yield { first, second };
    lengths = halved;
    numbers = Uint32Array.from({ length: count }, (_, i) => i);
  }
}
