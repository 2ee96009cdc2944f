import { type DType, dtypeInfo, type SegmentPlan, type StepPlan, type UpdatePlan } from "@shardgrad/workers";
import type { GpuBuffer, GpuLimits } from "../backend/contract.js";
import { NORM_GROUP_WORDS, TILE } from "../kernels/table.js";
import type { DeviceArrays } from "./device-arrays.js";
import { type GradientRange, type PlacedUpdate, placeGradients } from "./gradients.js";
import { RangeTable, type Table } from "./range-table.js";
import { type GroupLayout, layOutSlices, type RowsLaunch } from "./slice-groups.js";
import type { StepBuffers, StepPlace, Upload } from "./step-buffers.js";

/**
 * What is the same in every step over the same arrays with gradients of the same sizes: where gradients go, and the
 * tables that the kernels read. Rates, limits, momentum and the rows of slices are each step's own.
 */
export interface Layout {
  readonly gradients: readonly GradientCopy[];
  readonly uploads: readonly Upload[];
  readonly groups: readonly GroupLayout[];
  /** One for each dtype, in the order of the updates. */
  readonly parts: readonly LayoutPart[];
}

/** Bytes of a plan's gradients that go to a place. */
export interface GradientCopy {
  readonly update: number;
  readonly segment: number;
  readonly what: "dense" | "values" | "rows" | "all";
  /** From the start of the gradient, in bytes. */
  readonly from: number;
  readonly bytes: number;
  readonly place: StepPlace;
}

/** The updates of one dtype. Numbers of updates are positions in the plan. */
export interface LayoutPart {
  readonly dtype: DType;
  readonly norm: NormLayout | undefined;
  /** Dense gradients by what is the same in a launch: rate, epsilon, kind of accumulator. */
  readonly dense: readonly DenseLayout[];
  readonly rows: readonly RowsLaunch[];
  /** Averages of tables, which follow the rows' updates. */
  readonly averages: readonly Table[];
}

export interface NormLayout {
  readonly ranges: readonly Table[];
  readonly groups: Table;
  readonly partials: number;
}

export interface DenseLayout {
  /** One of the updates, whose rate and epsilon are those of all. */
  readonly update: number;
  readonly rowwise: boolean;
  readonly tables: readonly Table[];
}

const SHORT_ROW = 32;

/** @param none - stands for averages that are not there */
export function layOut(
  plan: StepPlan,
  arrays: DeviceArrays,
  buffers: StepBuffers,
  limits: GpuLimits,
  none: GpuBuffer,
): Layout {
  const gradients: GradientCopy[] = [];
  buffers.begin();
  const placed = placeGradients(plan, buffers, limits, gradients);
  const byNorm = plan.clip.kind === "norm";
  const slots = byNorm ? slotsOf(placed) : new Map<PlacedUpdate, number>();
  const slotOf = (update: PlacedUpdate) => slots.get(update) ?? 0;
  const { groups, launches } = layOutSlices(placed, slotOf, arrays, buffers, limits, gradients);
  const dtypes = new Set(placed.map(({ update }) => update.dtype));
  const parts = [...dtypes].map((dtype): LayoutPart => {
    const updates = placed.filter(({ update }) => update.dtype === dtype);
    return {
      dtype,
      norm: normLayout(plan, dtype, updates),
      dense: denseLayouts(plan, updates, arrays, slotOf, none),
      rows: launches.filter(({ update }) => plan.updates[update]!.dtype === dtype),
      averages: plan.average === null ? [] : tableAverages(dtype, updates, arrays),
    };
  });
  return { gradients, uploads: buffers.uploads(), groups, parts };
}

/** Clip slots of updates with a norm each: their positions among those of their dtype. */
function slotsOf(placed: readonly PlacedUpdate[]): Map<PlacedUpdate, number> {
  const used = new Map<DType, number>();
  return new Map(
    placed.map((each) => {
      const slot = used.get(each.update.dtype) ?? 0;
      used.set(each.update.dtype, slot + 1);
      return [each, slot];
    }),
  );
}

/** All tables of a layout. */
export function tablesOf({ groups, parts }: Layout): Table[] {
  const ofParts = parts.flatMap(({ norm, dense, averages }) => [
    ...(norm === undefined ? [] : [...norm.ranges, norm.groups]),
    ...dense.flatMap(({ tables }) => tables),
    ...averages,
  ]);
  return [...groups.map(({ parts }) => parts), ...ofParts];
}

/**
 * Norms over groups of gradients: all for a global norm, one update's otherwise. Partial sums lie in the order of the
 * step's gradients, whatever buffers these lie in.
 */
function normLayout(
  { clip }: StepPlan,
  dtype: DType,
  updates: readonly PlacedUpdate[],
): NormLayout | undefined {
  if (clip.kind !== "norm" && clip.kind !== "globalNorm") return undefined;
  const isGlobal = clip.kind === "globalNorm";
  const groups: number[] = [];
  const table = new RangeTable();
  let partials = 0;
  updates.forEach(({ normed }, update) => {
    const first = partials;
    for (const { buffer, offset, count } of normed) {
      const units = Math.ceil(count / TILE);
      table.add([buffer], { count, units, variable: partials, gradient: offset / dtypeInfo[dtype].bytes });
      partials += units;
    }
    if (!isGlobal) groups.push(first, partials - first, update, 0);
  });
  if (isGlobal) groups.push(0, partials, 0, 0);
  const entries = groups.length / NORM_GROUP_WORDS;
  const words = Uint32Array.from(groups);
  return { ranges: table.tables(), groups: { buffers: [], words, entries, units: entries }, partials };
}

/** The mean over a row of one element is that element's square: the kernels by elements do the same, faster. */
export function isRowwise({ rowwise, rowSize }: UpdatePlan): boolean {
  return rowwise && rowSize > 1;
}

interface DenseGroup {
  readonly update: UpdatePlan;
  readonly number: number;
  readonly rows: "" | "short" | "long";
  readonly table: RangeTable;
}

function denseLayouts(
  plan: StepPlan,
  updates: readonly PlacedUpdate[],
  arrays: DeviceArrays,
  slotOf: (update: PlacedUpdate) => number,
  none: GpuBuffer,
): DenseLayout[] {
  const groups: DenseGroup[] = [];
  for (const placed of updates) {
    const { update, number, dense } = placed;
    if (dense.length === 0) continue;
    // Short rows by themselves: a launch gives them to single lanes.
    const rows = isRowwise(update) ? (update.rowSize <= SHORT_ROW ? "short" : "long") : "";
    let group = groups.find(
      (known) =>
        known.rows === rows &&
        Object.is(known.update.learningRate, update.learningRate) &&
        Object.is(known.update.epsilon, update.epsilon),
    );
    if (group === undefined) {
      group = { update, number, rows, table: new RangeTable() };
      groups.push(group);
    }
    for (const { segment, pieces } of dense) {
      const average = plan.average === null ? 0 : segment.average;
      addDense(group.table, update, { ...segment, average }, pieces, arrays, slotOf(placed), none);
    }
  }
  return groups.map(({ update, number, table }) => ({
    update: number,
    rowwise: isRowwise(update),
    tables: table.tables(),
  }));
}

function addDense(
  table: RangeTable,
  update: UpdatePlan,
  { memory, variable, accumulator, average }: SegmentPlan,
  gradients: readonly GradientRange[],
  arrays: DeviceArrays,
  clip: number,
  none: GpuBuffer,
): void {
  const { rowSize, dtype } = update;
  const rowwise = isRowwise(update);
  const element = dtypeInfo[dtype].bytes;
  const variables = arrays.get(memory, variable)!.pieces;
  const accumulators = arrays.get(memory, accumulator)!.pieces;
  const averages = average === 0 ? undefined : arrays.get(memory, average)!.pieces;
  gradients.forEach(({ count, buffer, offset }, p) => {
    const v = variables[p]!.place;
    const s = accumulators[p]!.place;
    const e = averages?.[p]?.place;
    table.add([v.buffer, s.buffer, e?.buffer ?? none, buffer], {
      count,
      units: rowwise ? count / rowSize : Math.ceil(count / TILE),
      variable: v.offset / element,
      accumulator: s.offset / element,
      average: (e?.offset ?? 0) / element,
      gradient: offset / element,
      clip,
      rowSize,
    });
  });
}

function tableAverages(dtype: DType, updates: readonly PlacedUpdate[], arrays: DeviceArrays): Table[] {
  const element = dtypeInfo[dtype].bytes;
  const table = new RangeTable();
  for (const { update } of updates) {
    for (const { memory, gradient, variable, average, lazy } of update.segments) {
      if (gradient.kind !== "slices" || lazy !== 0) continue;
      const means = arrays.get(memory, average)!.pieces;
      arrays.get(memory, variable)!.pieces.forEach(({ place, count }, p) => {
        const mean = means[p]!.place;
        table.add([place.buffer, mean.buffer], {
          count,
          units: Math.ceil(count / TILE),
          variable: place.offset / element,
          average: mean.offset / element,
        });
      });
    }
  }
  return table.tables();
}
