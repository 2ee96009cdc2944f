import { kernels } from "../kernels/table.js";
import type { LaneDamage } from "../plan/contract.js";
import { ARGUMENTS, phaseCount, RECORD, runLength, runStart } from "../plan/program.js";

/** What each lane had begun and ended when the step was given up. */
export type Progress = readonly { readonly started: number; readonly completed: number }[];

/** A row that was brought up to date has not changed in meaning: only one in the middle of it is damaged. */
const CATCH_UPS = kernels.filter(({ exportName }) => /catchUp/.test(exportName)).map(({ id }) => id);

const ROWS = kernels.filter(({ exportName }) => /Rows/.test(exportName)).map(({ id }) => id);

/** The state of every part of the step's variables, from the lanes' progress words. */
export function damageOf(program: Float64Array, progress: Progress): LaneDamage[] {
  const damage: LaneDamage[] = [];
  progress.forEach(({ started, completed }, lane) => {
    let index = 0;
    for (let phase = 0; phase < phaseCount(program); phase++) {
      const start = runStart(program, phase, lane);
      for (let r = 0; r < runLength(program, phase, lane); r++, index++) {
        const at = start + r * RECORD;
        if (!kernels[program[at]!]!.writes) continue;
        const state = index < completed ? "applied" : index < started ? "unknown" : "notApplied";
        if (CATCH_UPS.includes(program[at]!) && state !== "unknown") continue;
        damage.push({ update: program[at + 3]!, state, ...extent(program, at) });
      }
    }
  });
  return merged(damage);
}

function extent(program: Float64Array, at: number): Pick<LaneDamage, "elements" | "rows"> {
  const start = program[at + 4]!;
  const count = program[at + 5]!;
  if (!ROWS.includes(program[at]!)) return { elements: [start, start + count] };
  const args = at + ARGUMENTS;
  return {
    rows: {
      segment: program[at + 6]!,
      lane: program[args + 6]!,
      lanes: program[args + 7]!,
      shift: program[args + 8]!,
      mask: program[args + 17]!,
    },
  };
}

/** Joins neighbouring ranges in the same state. */
function merged(damage: readonly LaneDamage[]): LaneDamage[] {
  const result: LaneDamage[] = [];
  for (const part of damage) {
    const last = result[result.length - 1];
    if (
      last?.elements !== undefined &&
      part.elements !== undefined &&
      last.update === part.update &&
      last.state === part.state &&
      last.elements[1] === part.elements[0]
    ) {
      result[result.length - 1] = { ...last, elements: [last.elements[0], part.elements[1]] };
    } else {
      result.push(part);
    }
  }
  return result;
}
