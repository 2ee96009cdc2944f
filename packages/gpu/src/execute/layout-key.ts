import { dtypeInfo, type StepPlan, type UpdatePlan } from "@shardgrad/workers";

const clipKinds = { none: 0, norm: 1, globalNorm: 2, value: 3, scale: 4 };
const gradientKinds = { none: 0, dense: 1, slices: 2 };

/**
 * The numbers that decide how a step is laid out: everything of its plan but rates, limits, momentum and where gradients
 * lie on the host. Plans with the same numbers, over arrays in the same places, have the same layout. The lists are
 * written with their lengths, so that no two plans run together.
 */
export class LayoutKey {
  #numbers = new Float64Array(64);
  #length = 0;
  /** Rates and epsilons of the plan: updates with other ones take another launch. */
  readonly #scalars: number[] = [];

  /** Writes the key of a plan in place of the last one. */
  write({ updates, clip, average }: StepPlan): void {
    this.#length = 0;
    this.#scalars.length = 0;
    this.#add(clipKinds[clip.kind]);
    this.#add(average === null ? 0 : 1);
    this.#add(updates.length);
    for (const update of updates) this.#addUpdate(update);
  }

  /** A copy of the key. */
  get numbers(): Float64Array {
    return this.#numbers.slice(0, this.#length);
  }

  is(numbers: Float64Array): boolean {
    if (numbers.length !== this.#length) return false;
    for (let i = 0; i < numbers.length; i++) if (numbers[i] !== this.#numbers[i]) return false;
    return true;
  }

  #addUpdate({ dtype, rowSize, rowwise, perRow, learningRate, epsilon, segments }: UpdatePlan): void {
    this.#add(dtypeInfo[dtype].code);
    this.#add(rowSize);
    this.#add(rowwise ? 1 : 0);
    this.#add(perRow ? 1 : 0);
    this.#add(this.#scalarsNumber(learningRate, epsilon));
    this.#add(segments.length);
    for (const { memory, variable, accumulator, average, count, gradient, lazy, behind } of segments) {
      this.#add(memory);
      this.#add(variable);
      this.#add(accumulator);
      this.#add(average);
      this.#add(count);
      this.#add(lazy);
      this.#add(behind === undefined ? 0 : 1);
      this.#add(gradientKinds[gradient.kind]);
      if (gradient.kind !== "slices") continue;
      this.#add(gradient.count);
      this.#add(gradient.all?.count ?? -1);
    }
  }

  /** Position of a pair of rate and epsilon among those of the plan. */
  #scalarsNumber(learningRate: number, epsilon: number): number {
    const known = this.#scalars;
    for (let i = 0; i < known.length; i += 2) {
      if (Object.is(known[i], learningRate) && Object.is(known[i + 1], epsilon)) return i;
    }
    known.push(learningRate, epsilon);
    return known.length - 2;
  }

  #add(number: number): void {
    if (this.#length === this.#numbers.length) {
      const larger = new Float64Array(2 * this.#length);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    this.#numbers[this.#length++] = number;
  }
}
