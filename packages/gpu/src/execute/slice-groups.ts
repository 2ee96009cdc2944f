import type { StepPlan } from "@shardgrad/workers";
import type { Binding, Command, GpuLimits } from "../backend/contract.js";
import type { DeviceArrays } from "./device-arrays.js";
import type { PlacedUpdate, SlicesPlace } from "./gradients.js";
import {
  type GroupedTable,
  groupCommands,
  largestSortArray,
  partWords,
  type SortShape,
  sortBytes,
  sortShape,
} from "./group-commands.js";
import type { GradientCopy } from "./layout.js";
import { pieceBytes } from "./pieces.js";
import type { Table } from "./range-table.js";
import type { Scratch } from "./scratch.js";
import { aligned, SMALL, type StepBuffers, type StepPlace } from "./step-buffers.js";

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

/** Where the groups of a segment are. */
export interface GroupedPlace {
  /** Position among the layout's groups. */
  readonly group: number;
  /** Number of the segment's first part; those of its other pieces follow. */
  readonly part: number;
}

interface Batch extends GroupedPlace {
  readonly slices: SlicesPlace;
  readonly table: GroupedTable;
}

/** Lays out how slices are grouped. @param copies - the copies of row numbers are added */
export function layOutGroups(
  { updates }: StepPlan,
  placed: readonly PlacedUpdate[],
  arrays: DeviceArrays,
  buffers: StepBuffers,
  limits: GpuLimits,
  copies: GradientCopy[],
): { readonly groups: readonly GroupLayout[]; readonly places: ReadonlyMap<SlicesPlace, GroupedPlace> } {
  const batches: Batch[][] = [];
  const places = new Map<SlicesPlace, GroupedPlace>();
  let [slices, keys, parts] = [0, 0, 0];
  for (const each of placed.flatMap((update) => update.slices)) {
    const { rowSize, segments } = updates[each.update]!;
    const { memory, variable, count, gradient } = segments[each.segment]!;
    if (gradient.kind !== "slices") continue;
    const starts = arrays.get(memory, variable)!.pieces.map(({ start }) => start / rowSize);
    const table = { slices: gradient.count, rows: count / rowSize, starts };
    const bytes = largestSortArray(slices + table.slices, parts + starts.length);
    if (batches.length === 0 || keys + table.rows > MOST_KEYS || bytes > pieceBytes(limits)) {
      batches.push([]);
      [slices, keys, parts] = [0, 0, 0];
    }
    const place = { group: batches.length - 1, part: parts };
    batches.at(-1)!.push({ ...place, slices: each, table });
    places.set(each, place);
    slices += table.slices;
    keys += table.rows;
    parts += starts.length;
  }
  return { groups: batches.map((batch) => groupLayout(batch, buffers, copies)), places };
}

function groupLayout(batch: readonly Batch[], buffers: StepBuffers, copies: GradientCopy[]): GroupLayout {
  const words = partWords(batch.map(({ table }) => table));
  const slices = batch.reduce((sum, { table }) => sum + table.slices, 0);
  const keys = batch.reduce((sum, { table }) => sum + table.rows, 0);
  const entries = batch.reduce((sum, { table }) => sum + table.starts.length, 0);
  // Those of several tables go up together, however many they are.
  const rows = buffers.place(4 * slices, batch.length > 1 || 4 * slices <= SMALL);
  let { offset } = rows;
  const tables = batch.map(({ slices: { update, segment }, table }) => {
    const bytes = 4 * table.slices;
    copies.push({ update, segment, what: "rows", from: 0, bytes, place: { ...rows, offset } });
    offset += bytes;
    return { update, segment, slices: table.slices };
  });
  const shape = sortShape(slices, keys, entries);
  return { shape, rows, parts: { buffers: [], words, entries, units: slices }, tables };
}

/** What the rows kernels read of a group. */
export interface Grouped {
  readonly order: Binding;
  readonly rowGroups: Binding;
}

/** Commands that group the slices of a step. */
export function lowerGroups(
  plan: StepPlan,
  groups: readonly GroupLayout[],
  bindingOf: (table: Table) => Binding,
  buffers: StepBuffers,
  scratch: Scratch,
  commands: Command[],
): Grouped[] {
  return groups.map((group, i): Grouped => {
    const { shape, rows: place, parts } = group;
    const rows = { buffer: place.buffer, offset: place.offset, bytes: aligned(4 * shape.slices) };
    const bytes = sortBytes(shape);
    const take = (name: keyof typeof bytes) => scratch.take(`${name}/${i}`, bytes[name]);
    const [order, rowGroups] = [take("order"), take("rowGroups")];
    commands.push(
      ...groupCommands(shape, {
        ...{ rows, parts: bindingOf(parts), behind: bindBehind(plan, group, buffers) },
        ...{ order, rowGroups, even: take("even"), odd: take("odd") },
        counters: bytes.counters === 0 ? order : take("counters"),
      }),
    );
    return { order, rowGroups };
  });
}

/** What the rows of lazy tables have missed, by slice; the words of other tables are not read. */
function bindBehind({ updates }: StepPlan, group: GroupLayout, buffers: StepBuffers): Binding | undefined {
  const lists = group.tables.map(({ update, segment }) => updates[update]!.segments[segment]!.behind?.words);
  if (lists.every((words) => words === undefined)) return undefined;
  let all = lists[0];
  if (all === undefined || lists.length > 1) {
    all = new Uint32Array(group.shape.slices);
    let at = 0;
    group.tables.forEach(({ slices }, t) => {
      if (lists[t] !== undefined) all!.set(lists[t], at);
      at += slices;
    });
  }
  return buffers.bind(new Uint8Array(all.buffer, all.byteOffset, all.byteLength));
}
