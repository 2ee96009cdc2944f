import { type DType, dtypeInfo } from "../dtype.js";
import {
  doubleFromHalf,
  halfFromDouble,
  instantiateKernels,
  type KernelInstance,
} from "../kernels/instance.js";
import type { NativeKernels } from "../kernels/native.js";
import { kernels } from "../kernels/table.js";
import type { WasmMemory, WasmModule } from "../kernels/webassembly.js";
import {
  ARGUMENTS,
  GROUP,
  groupStart,
  PART,
  phaseCount,
  RECORD,
  runLength,
  runStart,
} from "../plan/program.js";

/** What a lane needs from the lanes beside it. */
export interface LaneProgress {
  /** Called before record `index` (counted over all phases) is run; false when the lane was given up. */
  started(index: number): boolean;
  completed(index: number): void;
  /** Waits until every lane has ended the phase; false when the step was given up. */
  barrier(phase: number): boolean;
}

export const alone: LaneProgress = {
  started: () => true,
  completed() {},
  barrier: () => true,
};

/** Runs the records of encoded programs against the memories it was given. One per thread. */
export class LaneRunner {
  readonly #instances: KernelInstance[] = [];
  readonly #module: WasmModule;
  readonly #native: NativeKernels | undefined;
  /** Address of each memory. A shared memory never moves; the instance above keeps it alive. */
  readonly #addresses: number[] = [];

  /** @param native - stands in for the WebAssembly kernels where it has one of the same name */
  constructor(module: WasmModule, native?: NativeKernels) {
    this.#module = module;
    this.#native = native;
  }

  attachMemory(id: number, memory: WasmMemory): void {
    if (this.#instances[id] !== undefined) return;
    this.#instances[id] = instantiateKernels(this.#module, memory);
    if (this.#native !== undefined) {
      this.#addresses[id] = this.#native.library.addressOf(new Uint8Array(memory.buffer));
    }
  }

  /** Of a memory, for native kernels. */
  addressOf(memory: number): number {
    return this.#addresses[memory]!;
  }

  instance(memory: number): KernelInstance {
    return this.#instances[memory]!;
  }

  /** Runs one lane's share of a program; false when the step was given up. */
  run(program: Float64Array, lane: number, progress: LaneProgress): boolean {
    const phases = phaseCount(program);
    const norms: (ClipScalars | undefined)[] = [];
    let index = 0;
    for (let phase = 0; phase < phases; phase++) {
      if (phase > 0 && !progress.barrier(phase)) return false;
      const start = runStart(program, phase, lane);
      const end = start + runLength(program, phase, lane) * RECORD;
      for (let at = start; at < end; at += RECORD) {
        if (!progress.started(index)) return false;
        this.#call(program, at, norms);
        progress.completed(index);
        index++;
      }
    }
    return true;
  }

  #call(program: Float64Array, at: number, norms: (ClipScalars | undefined)[]): void {
    const kernel = program[at]!;
    const group = program[at + 2]!;
    const a = at + ARGUMENTS;
    if (group >= 0) {
      const scalars = norms[group] ?? this.clipScalars(program, group);
      norms[group] = scalars;
      const clip = a + kernels[kernel]!.clipArgument;
      // The record is this lane's own: nobody else reads or writes it now.
      program[clip] = scalars.a;
      program[clip + 1] = scalars.b;
    }
    const number = this.#native?.numbers[kernel] ?? -1;
    const count = program[at + 5]!;
    // A count of -1 stands for rows.
    if (number >= 0 && (count < 0 || count >= this.#native!.least)) {
      this.#native!.set.run(number, this.#addresses[program[at + 1]!]!, program, a);
      return;
    }
    this.#instances[program[at + 1]!]!.functions[kernel]!(
      program[a]!,
      program[a + 1]!,
      program[a + 2]!,
      program[a + 3]!,
      program[a + 4]!,
      program[a + 5]!,
      program[a + 6]!,
      program[a + 7]!,
      program[a + 8]!,
      program[a + 9]!,
      program[a + 10]!,
      program[a + 11]!,
      program[a + 12]!,
      program[a + 13]!,
      program[a + 14]!,
      program[a + 15]!,
      program[a + 16]!,
      program[a + 17]!,
      program[a + 18]!,
      program[a + 19]!,
    );
  }

  /**
   * The clip scalars of a norm group, from its partial sums, added in their fixed order. Each lane computes
   * them for itself after the norm phase: the same inputs in the same order give the same bits everywhere.
   */
  clipScalars(program: Float64Array, groupIndex: number): ClipScalars {
    const at = groupStart(program, groupIndex);
    const kind = program[at]!;
    const round = roundings[program[at + 2]!]!;
    const end = at + GROUP + PART * program[at + 3]!;
    let sum = 0;
    for (let part = at + GROUP; part < end; part += PART) {
      sum = this.#instances[program[part]!]!.sumPartials(program[part + 1]!, program[part + 2]!, sum);
    }
    const norm = round(Math.sqrt(round(sum)));
    const limit = round(program[at + 1]!);
    // TensorFlow's formulas: clip_by_norm is (g * c) / max(norm, c); clip_by_global_norm multiplies by
    // c * min(1 / norm, 1 / c) and makes everything NaN when the norm is not finite.
    if (kind === 1) return { norm, a: limit, b: Math.max(norm, limit) };
    return { norm, a: scaleOf(norm, limit, round), b: 0 };
  }
}

function scaleOf(norm: number, limit: number, round: (value: number) => number): number {
  const scale = round(limit * Math.min(round(1 / norm), round(1 / limit)));
  return Number.isFinite(norm) ? scale : Number.NaN;
}

/** What a global norm's clipping multiplies gradients of a dtype by, as the lanes compute it. */
export function globalScale(norm: number, limit: number, dtype: DType): number {
  const round = roundings[dtypeInfo[dtype].code]!;
  return scaleOf(norm, round(limit), round);
}

export interface ClipScalars {
  readonly norm: number;
  readonly a: number;
  readonly b: number;
}

/** Rounding to each dtype, by dtype code. */
const roundings: readonly ((value: number) => number)[] = [
  Math.fround,
  (value) => value,
  (value) => doubleFromHalf(halfFromDouble(value)),
];
