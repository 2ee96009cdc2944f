import { type KernelOperation, kernelFor } from "../kernels/table.js";
import type { SegmentPlan, StepPlan, UpdatePlan } from "./contract.js";
import type { ProgramWriter } from "./program.js";

/** Temporary memory of one step. */
export interface Scratch {
  /** Byte offset of `bytes` (not zeroed) in a memory; given back when the step has ended. */
  take(memory: number, bytes: number): number;
  /** The same, in another memory if that one is full: only where kernels reach every memory. */
  takeNear(memory: number, bytes: number): number;
  /** Bytes that the row kernel needs to group this many slices. */
  rowsBytes(sliceCount: number): number;
  /** Bytes from one memory to another, where kernels reach every memory. */
  distance(from: number, to: number): number;
}

export interface ClipArguments {
  readonly group: number;
  readonly kind: number;
  readonly a: number;
}

export interface Lowering {
  readonly plan: StepPlan;
  readonly writer: ProgramWriter;
  readonly update: UpdatePlan;
  readonly index: number;
  readonly clip: ClipArguments;
  readonly phase: number;
  readonly scratch: Scratch;
  readonly rowScratch: Map<string, number>;
}

export interface TaskTile {
  readonly lane: number;
  readonly start: number;
  readonly count: number;
}

export function addTile(
  { writer, update, index, clip }: Lowering,
  phase: number,
  operation: KernelOperation,
  segment: SegmentPlan,
  s: number,
  tile: TaskTile,
  args: readonly number[],
): void {
  const kernel = kernelFor(operation, update.dtype);
  const group = kernel.clipArgument >= 0 ? clip.group : -1;
  const start = tile.count < 0 ? segment.start : segment.start + tile.start;
  const { lane, count } = tile;
  const at = writer.add(phase, lane, kernel.id, segment.memory, group, index, start, count, s);
  const numbers = writer.numbersOf(phase, lane);
  for (let i = 0; i < args.length; i++) numbers[at + i] = args[i]!;
}
