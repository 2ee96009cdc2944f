import { type BehindRows, dtypeInfo, type SegmentPlan, type UpdatePlan } from "@shardgrad/workers";
import type { Binding, Command } from "../backend/contract.js";
import { whole } from "./clip-slots.js";
import type { DeviceArrays } from "./device-arrays.js";
import type { StepBuffers } from "./step-buffers.js";

/** The factors of what the rows of a segment have missed, whose averages are kept lazily; undefined for others. */
export function lazyFactors(
  { dtype }: UpdatePlan,
  { behind }: SegmentPlan,
  buffers: StepBuffers,
): Binding | undefined {
  return behind === undefined ? undefined : bindFactors(behind, dtype, buffers);
}

/** What brings all rows of a table up to date; nothing for other operations. */
export function* catchUpCommands(
  { operation, dtype, rowSize, segments }: UpdatePlan,
  arrays: DeviceArrays,
  buffers: StepBuffers,
): Generator<Command> {
  if (operation !== "catchUp") return;
  const element = dtypeInfo[dtype].bytes;
  for (const { memory, variable, average, behind } of segments) {
    if (behind === undefined) continue;
    const factors = bindFactors(behind, dtype, buffers);
    const { pieces } = arrays.get(memory, average)!;
    for (const [p, { place, start, count }] of arrays.get(memory, variable)!.pieces.entries()) {
      const { place: averagePlace } = pieces[p]!;
      const [first, rows] = [start / rowSize, count / rowSize];
      const { buffer, byteOffset } = behind.words;
      const words = buffers.bind(new Uint8Array(buffer, byteOffset + 4 * first, 4 * rows));
      yield {
        kernel: "catchUp",
        dtype,
        buffers: [whole(place.buffer), whole(averagePlace.buffer), words, factors],
        scalars: [rowSize, place.offset / element, averagePlace.offset / element],
        count: rows,
      };
    }
  }
}

function bindFactors({ factors }: BehindRows, dtype: UpdatePlan["dtype"], buffers: StepBuffers): Binding {
  const values = dtype === "float64" ? factors : Float32Array.from(factors);
  return buffers.bind(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}
