import type { AveragePlan, UpdatePlan } from "@shardgrad/workers";
import type { Clip } from "./clipping.js";
import type { Scalars } from "./scalars.js";
import type { StagedSlices } from "./slices.js";
import { rowSums } from "./sums.js";
import type { Tf, TfTensor } from "./tf.js";

/** The arrays of a segment, flat; the accumulator of a row-wise update has one element a row. */
export interface SegmentTensors {
  readonly variable: TfTensor;
  readonly accumulator: TfTensor;
  readonly average: TfTensor | undefined;
}

/** What the updates of one variable share. */
export interface UpdateContext {
  readonly tf: Tf;
  readonly scalars: Scalars;
  readonly update: UpdatePlan;
  readonly clip: Clip;
}

/** A dense update, with the operations of the CPU's kernels in their order; each rounds by itself. */
export function denseUpdate(
  { tf, scalars, update, clip }: UpdateContext,
  { variable, accumulator }: SegmentTensors,
  gradient: TfTensor,
): Pick<SegmentTensors, "variable" | "accumulator"> {
  const { rowwise, rowSize } = update;
  const shapes = rowwise
    ? { elements: [variable.size / rowSize, rowSize], accumulator: [variable.size / rowSize, 1] }
    : { elements: [variable.size], accumulator: [variable.size] };
  const g = clip(tf.reshape(gradient, shapes.elements));
  const sum = tf.add(tf.reshape(accumulator, shapes.accumulator), squares(tf, scalars, update, g));
  const moved = step(tf, scalars, update, tf.reshape(variable, shapes.elements), sum, g);
  return { variable: flat(tf, moved), accumulator: flat(tf, sum) };
}

/** An update of the rows that slices name. */
export function rowsUpdate(
  { tf, scalars, update, clip }: UpdateContext,
  { variable, accumulator }: SegmentTensors,
  { values, rows, sums: sliceSums }: StagedSlices,
): Pick<SegmentTensors, "variable" | "accumulator"> {
  const { rowwise, rowSize, perRow } = update;
  const table = tf.reshape(variable, [variable.size / rowSize, rowSize]);
  const sums = tf.reshape(accumulator, [variable.size / rowSize, rowwise ? 1 : rowSize]);
  const clipped = clip(values);
  const before = tf.gather(sums, rows);
  const g = sliceSums.of(clipped);
  const after = perRow
    ? tf.add(before, squares(tf, scalars, update, g))
    : sliceSums.onto(before, squares(tf, scalars, update, clipped));
  const moved = step(tf, scalars, update, tf.gather(table, rows), after, g);
  const at = tf.reshape(rows, [rows.size, 1]);
  return {
    variable: flat(tf, tf.tensorScatterUpdate(table, at, moved)),
    accumulator: flat(tf, tf.tensorScatterUpdate(sums, at, after)),
  };
}

/** average = momentum * average + complement * variable; overwriting, the variable is the average afterwards. */
export function averaged(
  tf: Tf,
  scalars: Scalars,
  tensors: SegmentTensors,
  plan: AveragePlan,
): SegmentTensors {
  const { momentum, overwrite } = plan;
  const { variable, accumulator } = tensors;
  const average = tf.add(
    tf.mul(scalars.of(momentum), tensors.average!),
    tf.mul(scalars.of(1 - momentum), variable),
  );
  return { variable: overwrite ? tf.clone(average) : variable, accumulator, average };
}

/** What gradients add to accumulators: squares, or for each row their mean. */
function squares(tf: Tf, scalars: Scalars, { rowwise, rowSize }: UpdatePlan, g: TfTensor): TfTensor {
  const squared = tf.mul(g, g);
  if (!rowwise || rowSize === 1) return squared;
  return tf.div(rowSums(tf, squared), scalars.of(rowSize));
}

function step(
  tf: Tf,
  scalars: Scalars,
  { learningRate, epsilon }: UpdatePlan,
  variable: TfTensor,
  sum: TfTensor,
  g: TfTensor,
): TfTensor {
  const root = tf.sqrt(tf.add(sum, scalars.of(epsilon)));
  return tf.sub(variable, tf.div(tf.mul(scalars.of(learningRate), g), root));
}

function flat(tf: Tf, tensor: TfTensor): TfTensor {
  return tf.reshape(tensor, [tensor.size]);
}
