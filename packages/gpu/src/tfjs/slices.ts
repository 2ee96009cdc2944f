import type { HostMemory, SegmentPlan, UpdatePlan } from "@shardgrad/workers";
import { groupRows } from "../execute/row-groups.js";
import { ROW_GROUP_WORDS } from "../kernels/table.js";
import type { Tf, TfTensor } from "./tf.js";

/** The slices of a segment. */
export interface StagedSlices {
  /** [slices, elements of a row], in list order. */
  readonly values: TfTensor;
  /** The rows that are named, each once. */
  readonly rows: TfTensor;
  /** Where several slices name a row: positions in `rows`, as columns; else undefined. */
  readonly slots:
    | {
        readonly ofSlices: TfTensor;
        /** Of all of `rows`, then of the slices. */
        readonly ofRowsAndSlices: TfTensor;
      }
    | undefined;
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

export function stageSlices(
  tf: Tf,
  host: HostMemory,
  { rowSize }: UpdatePlan,
  { memory }: SegmentPlan,
  gradient: Extract<SegmentPlan["gradient"], { kind: "slices" }>,
): StagedSlices {
  const { count } = gradient;
  const values = hostTensor(tf, host, memory, gradient.values, [count, rowSize]);
  const indices = new Uint32Array(host.bytes(memory, gradient.indices, count * 4).slice().buffer);
  const { order, groups } = groupRows(indices);
  const rows = groups.length / ROW_GROUP_WORDS;
  if (rows === count) return { values, rows: integers(tf, Int32Array.from(indices)), slots: undefined };
  const named = new Int32Array(rows);
  const slots = new Int32Array(rows + count);
  for (let row = 0; row < rows; row++) {
    slots[row] = row;
    const at = row * ROW_GROUP_WORDS;
    named[row] = groups[at]!;
    for (let k = groups[at + 1]!; k < groups[at + 2]!; k++) slots[rows + order[k]!] = row;
  }
  const column = (numbers: Int32Array) => tf.reshape(integers(tf, numbers), [numbers.length, 1]);
  return {
    values,
    rows: integers(tf, named),
    slots: { ofSlices: column(slots.slice(rows)), ofRowsAndSlices: column(slots) },
  };
}

function integers(tf: Tf, numbers: Int32Array): TfTensor {
  return tf.tensor(numbers, [numbers.length], "int32");
}
