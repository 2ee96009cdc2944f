import { dtypeInfo, type SegmentPlan, type UpdatePlan } from "@shardgrad/workers";
import type { GpuBuffer, GpuLimits } from "../backend/contract.js";
import type { DeviceArrays } from "./device-arrays.js";
import type { PlacedUpdate, SlicesPlace } from "./gradients.js";
import { largestSortArray, type PartPlace, partWords, type SortShape, sortShape } from "./group-commands.js";
import { type GradientCopy, isRowwise } from "./layout.js";
import { pieceBytes } from "./pieces.js";
import type { Table } from "./range-table.js";
import { SMALL, type StepBuffers, type StepPlace } from "./step-buffers.js";

/** Keys are numbers of 32 bits. */
const MOST_KEYS = 2 ** 32;

/** Slices of a step that are grouped together: of as many tables as their keys and arrays allow. */
export interface GroupLayout {
  readonly shape: SortShape;
  /** Where the row numbers go. */
  readonly rows: StepPlace;
  readonly parts: Table;
  /** Numbers of slices, in the order of their tables. */
  readonly tables: readonly { readonly update: number; readonly segment: number; readonly slices: number }[];
}

/** Rows that one launch updates: of tables, or pieces of them, that have all but their offsets in common. */
export interface RowsLaunch {
  /** One of the updates, whose rate and kind are those of all, and a segment of it. */
  readonly update: number;
  readonly segment: number;
  /** Position among the layout's groups. */
  readonly group: number;
  readonly firstPart: number;
  readonly partCount: number;
  /** Rows that may be named, at most. */
  readonly rows: number;
  /** Of variables, accumulators, values, and averages that are kept lazily. */
  readonly buffers: readonly [GpuBuffer, GpuBuffer, GpuBuffer, GpuBuffer | undefined];
}

interface Part {
  readonly fields: PartPlace & { readonly start: number };
  readonly rows: number;
  readonly buffers: RowsLaunch["buffers"];
}

/** A segment with slices. */
interface Sliced {
  readonly update: UpdatePlan;
  readonly at: SlicesPlace;
  readonly segment: SegmentPlan;
  readonly slices: number;
  readonly rows: number;
  readonly parts: readonly Part[];
}

/**
 * Lays out how slices are grouped, and which rows are updated together.
 * @param slotOf - the clip slot of an update
 * @param copies - the copies of row numbers are added
 */
export function layOutSlices(
  placed: readonly PlacedUpdate[],
  slotOf: (update: PlacedUpdate) => number,
  arrays: DeviceArrays,
  buffers: StepBuffers,
  limits: GpuLimits,
  copies: GradientCopy[],
): { readonly groups: readonly GroupLayout[]; readonly launches: readonly RowsLaunch[] } {
  const sliced = placed.flatMap((update) => slicedSegments(update, slotOf(update), arrays));
  const batches: Sliced[][] = [];
  let [slices, keys, parts] = [0, 0, 0];
  for (const each of byKind(sliced)) {
    const bytes = largestSortArray(slices + each.slices, parts + each.parts.length);
    if (batches.length === 0 || keys + each.rows > MOST_KEYS || bytes > pieceBytes(limits)) {
      batches.push([]);
      [slices, keys, parts] = [0, 0, 0];
    }
    batches.at(-1)!.push(each);
    slices += each.slices;
    keys += each.rows;
    parts += each.parts.length;
  }
  return {
    groups: batches.map((batch) => groupLayout(batch, buffers, copies)),
    launches: batches.flatMap(launchesOf),
  };
}

function slicedSegments(
  { update, number, slices }: PlacedUpdate,
  clip: number,
  arrays: DeviceArrays,
): Sliced[] {
  const { rowSize, dtype, segments } = update;
  const element = dtypeInfo[dtype].bytes;
  return slices.flatMap((at): Sliced[] => {
    const segment = segments[at.segment]!;
    const { memory, count, gradient } = segment;
    if (gradient.kind !== "slices") return [];
    const accumulators = arrays.get(memory, segment.accumulator)!.pieces;
    const averages = segment.behind === undefined ? undefined : arrays.get(memory, segment.average)!.pieces;
    const parts = arrays.get(memory, segment.variable)!.pieces.map(({ place, start, count }, p): Part => {
      const [accumulator, average] = [accumulators[p]!.place, averages?.[p]?.place];
      return {
        fields: {
          start: start / rowSize,
          clip,
          variable: place.offset / element,
          accumulator: accumulator.offset / element,
          values: at.values.offset / element,
          average: (average?.offset ?? 0) / element,
        },
        rows: count / rowSize,
        buffers: [place.buffer, accumulator.buffer, at.values.buffer, average?.buffer],
      };
    });
    const own = { update, at: { ...at, update: number }, segment, slices: gradient.count };
    return [{ ...own, rows: count / rowSize, parts }];
  });
}

/** Whether one launch can update the rows of both. What lazy averages have missed goes by table. */
function areAlike(a: Sliced, p: number, b: Sliced, q: number): boolean {
  const [x, y] = [a.update, b.update];
  const [these, those] = [a.parts[p]!.buffers, b.parts[q]!.buffers];
  return (
    a.segment.behind === undefined &&
    b.segment.behind === undefined &&
    x.dtype === y.dtype &&
    x.rowSize === y.rowSize &&
    x.perRow === y.perRow &&
    isRowwise(x) === isRowwise(y) &&
    Object.is(x.learningRate, y.learningRate) &&
    Object.is(x.epsilon, y.epsilon) &&
    these.every((buffer, i) => buffer === those[i])
  );
}

/** In their order, but that those of which one launch can update the rows follow each other. */
function byKind(sliced: readonly Sliced[]): Sliced[] {
  const kinds: Sliced[][] = [];
  for (const each of sliced) {
    const kind = kinds.find(([first]) => areAlike(first!, 0, each, 0));
    if (kind === undefined) kinds.push([each]);
    else kind.push(each);
  }
  return kinds.flat();
}

function groupLayout(batch: readonly Sliced[], buffers: StepBuffers, copies: GradientCopy[]): GroupLayout {
  const sum = (of: (each: Sliced) => number) => batch.reduce((total, each) => total + of(each), 0);
  const [slices, keys, entries] = [
    sum((each) => each.slices),
    sum(({ rows }) => rows),
    sum(({ parts }) => parts.length),
  ];
  const words = partWords(
    batch.map(({ slices, rows, parts }) => ({ slices, rows, parts: parts.map(({ fields }) => fields) })),
  );
  // Those of several tables go up together, however many they are.
  const rows = buffers.place(4 * slices, batch.length > 1 || 4 * slices <= SMALL);
  let { offset } = rows;
  const tables = batch.map(({ at: { update, segment }, slices }) => {
    const bytes = 4 * slices;
    copies.push({ update, segment, what: "rows", from: 0, bytes, place: { ...rows, offset } });
    offset += bytes;
    return { update, segment, slices };
  });
  const shape = sortShape(slices, keys, entries);
  return { shape, rows, parts: { buffers: [], words, entries, units: slices }, tables };
}

function launchesOf(batch: readonly Sliced[], group: number): RowsLaunch[] {
  const launches: (RowsLaunch & { partCount: number; rows: number })[] = [];
  let before: { each: Sliced; p: number } | undefined;
  let part = 0;
  for (const each of batch) {
    each.parts.forEach(({ rows, buffers }, p) => {
      const named = Math.min(rows, each.slices);
      if (before !== undefined && areAlike(before.each, before.p, each, p)) {
        launches.at(-1)!.partCount++;
        launches.at(-1)!.rows += named;
      } else {
        launches.push({ ...each.at, group, firstPart: part, partCount: 1, rows: named, buffers });
      }
      before = { each, p };
      part++;
    });
  }
  return launches;
}
