/**
 * A lowered step: for each phase and lane a run of fixed-size records in one Float64Array, so that it can be
 * written into shared memory and read by every lane without any copy or message.
 *
 *   header   phases, lanes, groups, then (start, records) for each phase and lane, then the offset of each group
 *   record   kernel, memory, norm group (-1: none), update, start, count (-1: rows), segment, unused, 22 arguments
 *   group    kind (1: each gradient by itself, 2: global), limit, dtype code, parts, then (memory, partials, blocks)*
 */
export const RECORD = 30;
export const ARGUMENTS = 8;
const HEADER = 3;

export interface NormPart {
  readonly memory: number;
  readonly partials: number;
  readonly blocks: number;
}

export interface NormGroup {
  readonly kind: 1 | 2;
  readonly limit: number;
  readonly dtype: number;
  readonly parts: NormPart[];
}

export interface TaskRecord {
  readonly kernel: number;
  readonly memory: number;
  readonly group: number;
  readonly update: number;
  readonly start: number;
  readonly count: number;
  readonly segment: number;
  readonly args: readonly number[];
}

export class ProgramWriter {
  readonly groups: NormGroup[] = [];
  readonly #tasks: TaskRecord[][];

  constructor(
    readonly phases: number,
    readonly lanes: number,
  ) {
    this.#tasks = Array.from({ length: phases * lanes }, () => []);
  }

  add(phase: number, lane: number, task: TaskRecord): void {
    this.#tasks[phase * this.lanes + lane]!.push(task);
  }

  /** Numbers that the encoded program takes. */
  get length(): number {
    let length = HEADER + 2 * this.phases * this.lanes + this.groups.length;
    for (const tasks of this.#tasks) length += tasks.length * RECORD;
    for (const group of this.groups) length += 4 + 3 * group.parts.length;
    return length;
  }

  encode(target: Float64Array): Float64Array {
    target[0] = this.phases;
    target[1] = this.lanes;
    target[2] = this.groups.length;
    let at = HEADER + 2 * this.#tasks.length + this.groups.length;
    this.#tasks.forEach((tasks, i) => {
      target[HEADER + 2 * i] = at;
      target[HEADER + 2 * i + 1] = tasks.length;
      for (const task of tasks) {
        target[at] = task.kernel;
        target[at + 1] = task.memory;
        target[at + 2] = task.group;
        target[at + 3] = task.update;
        target[at + 4] = task.start;
        target[at + 5] = task.count;
        target[at + 6] = task.segment;
        for (let a = 0; a < task.args.length; a++) target[at + ARGUMENTS + a] = task.args[a]!;
        at += RECORD;
      }
    });
    this.groups.forEach((group, i) => {
      target[HEADER + 2 * this.#tasks.length + i] = at;
      target[at] = group.kind;
      target[at + 1] = group.limit;
      target[at + 2] = group.dtype;
      target[at + 3] = group.parts.length;
      at += 4;
      for (const part of group.parts) {
        target[at] = part.memory;
        target[at + 1] = part.partials;
        target[at + 2] = part.blocks;
        at += 3;
      }
    });
    return target;
  }
}

export function phaseCount(program: Float64Array): number {
  return program[0]!;
}

export function groupCount(program: Float64Array): number {
  return program[2]!;
}

/** Where the records of a phase and lane start. */
export function runStart(program: Float64Array, phase: number, lane: number): number {
  return program[HEADER + 2 * (phase * program[1]! + lane)]!;
}

export function runLength(program: Float64Array, phase: number, lane: number): number {
  return program[HEADER + 2 * (phase * program[1]! + lane) + 1]!;
}

export function groupAt(program: Float64Array, group: number): NormGroup {
  let at = program[HEADER + 2 * program[0]! * program[1]! + group]!;
  const [kind, limit, dtype, count] = program.subarray(at, at + 4);
  const parts: NormPart[] = [];
  for (let i = 0; i < count!; i++) {
    at = at + (i === 0 ? 4 : 3);
    parts.push({ memory: program[at]!, partials: program[at + 1]!, blocks: program[at + 2]! });
  }
  return { kind: kind as 1 | 2, limit: limit!, dtype: dtype!, parts };
}
