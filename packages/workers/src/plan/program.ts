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

/** Numbers of a group before its parts, and of a part. */
export const GROUP = 4;
export const PART = 3;

/** The records of one phase and lane, or the groups, one after another. */
class Run {
  numbers = new Float64Array(64);
  /** Numbers in use. */
  length = 0;

  /** Position of so many further numbers, which hold what they held before. */
  take(count: number): number {
    const at = this.length;
    this.length = at + count;
    if (this.length > this.numbers.length) {
      const larger = new Float64Array(2 * this.length);
      larger.set(this.numbers);
      this.numbers = larger;
    }
    return at;
  }
}

/**
 * Collects the records of a step as numbers, without an object for any: a step over many small variables is nothing but
 * records. Can be used again after `begin`, and keeps its room.
 */
export class ProgramWriter {
  phases = 0;
  lanes = 0;
  readonly #runs: Run[] = [];
  readonly #groups = new Run();
  /** Where each group begins. */
  readonly #groupStarts: number[] = [];

  /** Forgets everything. */
  begin(phases: number, lanes: number): void {
    this.phases = phases;
    this.lanes = lanes;
    while (this.#runs.length < phases * lanes) this.#runs.push(new Run());
    for (const run of this.#runs) run.length = 0;
    this.#groups.length = 0;
    this.#groupStarts.length = 0;
  }

  get groupCount(): number {
    return this.#groupStarts.length;
  }

  /** @param kind - 1: each gradient by itself, 2: global */
  addGroup(kind: 1 | 2, limit: number, dtype: number): void {
    const at = this.#groups.take(GROUP);
    this.#groupStarts.push(at);
    const { numbers } = this.#groups;
    numbers[at] = kind;
    numbers[at + 1] = limit;
    numbers[at + 2] = dtype;
    numbers[at + 3] = 0;
  }

  /** Partial sums of the last group. */
  addPart(memory: number, partials: number, blocks: number): void {
    const at = this.#groups.take(PART);
    const { numbers } = this.#groups;
    numbers[at] = memory;
    numbers[at + 1] = partials;
    numbers[at + 2] = blocks;
    numbers[this.#groupStarts[this.#groupStarts.length - 1]! + 3]!++;
  }

  /** Where the last record's arguments go, from the position that `add` returned on. */
  numbersOf(phase: number, lane: number): Float64Array {
    return this.#runs[phase * this.lanes + lane]!.numbers;
  }

  /** @returns where its arguments go in `numbersOf` */
  add(
    phase: number,
    lane: number,
    kernel: number,
    memory: number,
    group: number,
    update: number,
    start: number,
    count: number,
    segment: number,
  ): number {
    const run = this.#runs[phase * this.lanes + lane]!;
    const at = run.take(RECORD);
    const { numbers } = run;
    numbers[at] = kernel;
    numbers[at + 1] = memory;
    numbers[at + 2] = group;
    numbers[at + 3] = update;
    numbers[at + 4] = start;
    numbers[at + 5] = count;
    numbers[at + 6] = segment;
    return at + ARGUMENTS;
  }

  /** Numbers that the encoded program takes. */
  get length(): number {
    const runs = this.phases * this.lanes;
    let length = HEADER + 2 * runs + this.#groupStarts.length + this.#groups.length;
    for (let i = 0; i < runs; i++) length += this.#runs[i]!.length;
    return length;
  }

  encode(target: Float64Array): Float64Array {
    const runs = this.phases * this.lanes;
    target[0] = this.phases;
    target[1] = this.lanes;
    target[2] = this.#groupStarts.length;
    let at = HEADER + 2 * runs + this.#groupStarts.length;
    for (let i = 0; i < runs; i++) {
      const { numbers, length } = this.#runs[i]!;
      target[HEADER + 2 * i] = at;
      target[HEADER + 2 * i + 1] = length / RECORD;
      target.set(numbers.subarray(0, length), at);
      at += length;
    }
    for (let i = 0; i < this.#groupStarts.length; i++) {
      target[HEADER + 2 * runs + i] = at + this.#groupStarts[i]!;
    }
    target.set(this.#groups.numbers.subarray(0, this.#groups.length), at);
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

/** Where a group begins: kind, limit, dtype code, number of parts, then the parts. */
export function groupStart(program: Float64Array, group: number): number {
  return program[HEADER + 2 * program[0]! * program[1]! + group]!;
}
