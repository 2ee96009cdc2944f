import {
  lazyWords,
  type MemoryPool,
  type SegmentPlan,
  type StepPlan,
  type UpdatePlan,
} from "@shardgrad/workers";
import { behindRows } from "../variable/behind-rows.js";

/** Whether a plan only brings lazy averages up to date. */
export function isCatchUp({ updates }: Pick<StepPlan, "updates">): boolean {
  return updates.every(({ operation }) => operation === "catchUp");
}

/** The plan with what an accelerator has to know of rows that are kept lazily, as they are now. */
export function withBehind(plan: StepPlan, memory: MemoryPool): StepPlan {
  if (!plan.updates.some(isLazy)) return plan;
  const updates = plan.updates.map((update) => {
    if (!isLazy(update)) return update;
    const { dtype } = update;
    const segments = update.segments.map((segment) => {
      const buffer = bufferOf(memory, segment);
      const rows = namedRows(update, segment, buffer);
      return { ...segment, behind: behindRows(dtype, buffer, segment.lazy, rows) };
    });
    return { ...update, segments };
  });
  return { ...plan, updates };
}

/**
 * Notes what a launched plan does to the rows' averages, as the CPU's kernels note it; in the turn of the launch. Nobody
 * reads a lazy block meanwhile: tables that other threads read are never on an accelerator.
 */
export function noteAveraged({ updates }: StepPlan, memory: MemoryPool): void {
  for (const update of updates) {
    if (!isLazy(update)) continue;
    for (const segment of update.segments) {
      const buffer = bufferOf(memory, segment);
      const block = new Uint32Array(buffer, segment.lazy, lazyWords.list + 1);
      const clock = block[lazyWords.clock]!;
      const lasts = new Uint32Array(buffer, block[lazyWords.last]!, rowsOf(update, segment));
      const rows = namedRows(update, segment, buffer);
      if (typeof rows === "number") lasts.fill(clock);
      else for (let i = 0; i < rows.length; i++) lasts[rows[i]!] = clock + 1;
    }
  }
}

/** Whether an update works on lazy averages row by row, or on those of all rows. */
function isLazy({ segments }: UpdatePlan): boolean {
  return segments.some(({ lazy }) => lazy !== 0);
}

/** The rows that an update brings up to date: those of its slices, or all of the segment's, as their number. */
function namedRows(
  update: UpdatePlan,
  segment: SegmentPlan,
  buffer: ArrayBufferLike,
): Uint32Array<ArrayBufferLike> | number {
  const { gradient } = segment;
  if (update.operation === "catchUp" || gradient.kind !== "slices") return rowsOf(update, segment);
  return new Uint32Array(buffer, gradient.indices, gradient.count);
}

function rowsOf({ rowSize }: UpdatePlan, { count }: SegmentPlan): number {
  return rowSize === 0 ? 0 : count / rowSize;
}

function bufferOf(memory: MemoryPool, segment: SegmentPlan): ArrayBufferLike {
  return memory.bufferOf(memory.arenas[segment.memory]!);
}
