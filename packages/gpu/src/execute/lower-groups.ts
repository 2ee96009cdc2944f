import type { StepPlan } from "@shardgrad/workers";
import type { Binding, Command } from "../backend/contract.js";
import { groupCommands, sortBytes } from "./group-commands.js";
import type { Table } from "./range-table.js";
import type { Scratch } from "./scratch.js";
import type { GroupLayout } from "./slice-groups.js";
import { aligned, type StepBuffers } from "./step-buffers.js";

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
