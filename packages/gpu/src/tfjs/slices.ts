import type { HostMemory, SegmentPlan } from "@shardgrad/workers";
import { groupRows } from "../execute/row-groups.js";
import { ROW_GROUP_WORDS } from "../kernels/table.js";
import { type SliceSums, singleSlices, slicesInOrder, slicesInPairs } from "./slice-sums.js";
import type { Tf, TfTensor } from "./tf.js";
import type { UpdateContext } from "./updates.js";

/** The slices of a segment. */
export interface StagedSlices {
  /** [slices, elements of a row], in list order. */
  readonly values: TfTensor;
  /** The rows that are named, each once. */
  readonly rows: TfTensor;
  readonly sums: SliceSums;
}

/** Copies float32 elements of the host: tfjs may hold on to what it is given, and not all of it takes shared memory. */
export function hostTensor(
  tf: Tf,
  host: HostMemory,
  memory: number,
  offset: number,
  shape: number[],
): TfTensor {
  const count = shape.reduce((product, n) => product * n, 1);
  const copy = host.bytes(memory, offset, count * 4).slice();
  return tf.tensor(new Float32Array(copy.buffer), shape, "float32");
}

/**
 * @param given - a tensor with the values, where there is one
 * @param inOrder - whether `scatterND` adds in list order
 */
export function stageSlices(
  tf: Tf,
  host: HostMemory,
  { update: { rowSize }, scalars }: Pick<UpdateContext, "update" | "scalars">,
  { memory }: SegmentPlan,
  gradient: Extract<SegmentPlan["gradient"], { kind: "slices" }>,
  given: TfTensor | undefined,
  inOrder: boolean,
): StagedSlices {
  const { count } = gradient;
  const values =
    given === undefined
      ? hostTensor(tf, host, memory, gradient.values, [count, rowSize])
      : tf.reshape(given, [count, rowSize]);
  const indices = new Uint32Array(host.bytes(memory, gradient.indices, count * 4).slice().buffer);
  const rowGroups = groupRows(indices);
  const rowCount = rowGroups.groups.length / ROW_GROUP_WORDS;
  const integers = (numbers: Int32Array) => tf.tensor(numbers, [numbers.length], "int32");
  if (rowCount === count) {
    return { values, rows: integers(Int32Array.from(indices)), sums: singleSlices(tf, scalars) };
  }
  const rows = integers(
    Int32Array.from({ length: rowCount }, (_, row) => rowGroups.groups[row * ROW_GROUP_WORDS]!),
  );
  return { values, rows, sums: (inOrder ? slicesInOrder : slicesInPairs)(tf, rowGroups) };
}
