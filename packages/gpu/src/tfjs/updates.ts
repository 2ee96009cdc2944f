import type { AveragePlan, UpdatePlan } from "@shardgrad/workers";
import type { Clip } from "./clipping.js";
import type { Scalars } from "./scalars.js";
import type { StagedSlices } from "./slices.js";
import { rowSums } from "./sums.js";
import type { Tf, TfTensor } from "./tf.js";
import type { TfArray } from "./tf-array.js";

/** The arrays of a segment; the accumulator of a row-wise update has one column. */
export interface SegmentArrays {
  readonly variable: TfArray;
  readonly accumulator: TfArray;
}

/** What the updates of one variable share. */
export interface UpdateContext {
  readonly tf: Tf;
  readonly scalars: Scalars;
  readonly update: UpdatePlan;
  readonly clip: Clip;
}

/**
 * Rows and columns of an array of `count` elements of the variable. A segment that ends within a row is one column:
 * it has dense gradients only.
 */
export function shapeOf(
  { rowSize }: Pick<UpdatePlan, "rowSize">,
  count: number,
  perRow: boolean,
): TfArray["shape"] {
  if (count % rowSize !== 0) return [count, 1];
  return [count / rowSize, perRow ? 1 : rowSize];
}

/** A dense update, with the operations of the CPU's kernels in their order; each rounds by itself. */
export function denseUpdate(
  { tf, scalars, update, clip }: UpdateContext,
  { variable, accumulator }: SegmentArrays,
  gradient: TfTensor,
): void {
  const g = clip(tf.reshape(gradient, [...variable.shape]));
  accumulator.add(squares(tf, scalars, update, g));
  variable.subtract(change(tf, scalars, update, accumulator.values(), g));
}

/** An update of the rows that slices name. */
export function rowsUpdate(
  { tf, scalars, update, clip }: UpdateContext,
  { variable, accumulator }: SegmentArrays,
  { values, rows, sums: sliceSums }: StagedSlices,
): void {
  const clipped = clip(values);
  const before = accumulator.rows(rows);
  const g = sliceSums.of(clipped);
  const after = update.perRow
    ? tf.add(before, squares(tf, scalars, update, g))
    : sliceSums.onto(before, squares(tf, scalars, update, clipped));
  const moved = tf.sub(variable.rows(rows), change(tf, scalars, update, after, g));
  accumulator.assignRows(rows, after);
  variable.assignRows(rows, moved);
}

/** average = momentum * average + complement * variable; overwriting, the variable is the average afterwards. */
export function averageUpdate(
  tf: Tf,
  scalars: Scalars,
  variable: TfArray,
  average: TfArray,
  { momentum, overwrite }: AveragePlan,
): void {
  average.assign(
    tf.add(
      tf.mul(scalars.of(momentum), average.values()),
      tf.mul(scalars.of(1 - momentum), variable.values()),
    ),
  );
  if (overwrite) variable.assign(average.values());
}

/** What gradients add to accumulators: squares, or for each row their mean. */
function squares(tf: Tf, scalars: Scalars, { rowwise, rowSize }: UpdatePlan, g: TfTensor): TfTensor {
  const squared = tf.mul(g, g);
  if (!rowwise || rowSize === 1) return squared;
  return tf.div(rowSums(tf, squared), scalars.of(rowSize));
}

/** What a variable goes down by. */
function change(
  tf: Tf,
  scalars: Scalars,
  { learningRate, epsilon }: UpdatePlan,
  sum: TfTensor,
  g: TfTensor,
): TfTensor {
  const root = tf.sqrt(tf.add(sum, scalars.of(epsilon)));
  return tf.div(tf.mul(scalars.of(learningRate), g), root);
}
