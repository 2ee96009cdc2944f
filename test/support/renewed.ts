import { Adagrad, type AdagradOptions, type GradientPair, type Runtime, Variable } from "@shardgrad/core";
import { expect } from "vitest";
import type { Random } from "./random.js";
import { expectSameBits } from "./state.js";

/** How a gradient is handed over. */
export type GradientForm = "dense" | "lent" | "nested" | "slices" | "null";

/**
 * One optimizer for all steps, and beside it a new one for each step, which is given the state of the one before it: what
 * an optimizer keeps from earlier steps must never show. Each has variables of its own.
 */
export class Renewed {
  readonly kept: Adagrad;
  /** The variables of both, by number; those of a number have the same values at the beginning. */
  readonly pairs: (readonly [kept: Variable, renewed: Variable])[] = [];
  readonly runtime: Runtime;
  readonly #random: Random;
  readonly #options: AdagradOptions;
  #rate = 0.1;
  /** The optimizer of the last step, and the numbers of its variables. */
  #last: { readonly optimizer: Adagrad; readonly numbers: readonly number[] } | undefined;

  constructor(runtime: Runtime, random: Random, options: AdagradOptions = {}) {
    this.runtime = runtime;
    this.#random = random;
    this.#options = { ...options, runtime };
    this.kept = new Adagrad({ ...this.#options, learningRate: this.#rate });
  }

  add(rows: number, width: number, options: { reserveRows?: number } = {}): void {
    const values = Float32Array.from(this.#random.values(rows * width));
    const make = () => new Variable(values, { shape: [rows, width], runtime: this.runtime, ...options });
    this.pairs.push([make(), make()]);
  }

  /** Numbers of the variables that were not disposed. */
  get alive(): number[] {
    return this.pairs.flatMap(([variable], i) => (variable.disposed ? [] : [i]));
  }

  set rate(rate: number) {
    this.#rate = Math.fround(rate);
    this.kept.learningRate = rate;
  }

  /** The same on a variable of both, by its number. */
  async both(number: number, action: (variable: Variable) => unknown): Promise<void> {
    for (const variable of this.pairs[number]!) {
      await this.runtime.synchronize();
      await action(variable);
    }
  }

  /** The same on the accumulators of both. */
  async onAccumulators(number: number, action: (accumulator: Variable) => void): Promise<void> {
    await this.runtime.synchronize();
    const last = this.#last!;
    action(this.kept.accumulators[this.#built.indexOf(number)]!);
    action(last.optimizer.accumulators[last.numbers.indexOf(number)]!);
  }

  /** The numbers of the variables that `kept` was built with. */
  #built: number[] = [];

  /** A step of both, over variables in this order. */
  async step(steps: readonly (readonly [number: number, form: GradientForm])[], sync = false): Promise<void> {
    if (this.#last === undefined) this.#built = this.alive;
    this.kept.build(this.#built.map((number) => this.pairs[number]![0]));
    const renewed = await this.#renew();
    const lists: [GradientPair[], GradientPair[]] = [[], []];
    const lent: Float32Array[] = [];
    for (const [number, form] of steps) {
      const [rows, width] = this.pairs[number]![0].shape as [number, number];
      const indices = this.#random.indices(Math.min(5, rows), rows, true);
      const count = form === "slices" ? indices.length : rows;
      const values = Float32Array.from(this.#random.values(count * width));
      this.pairs[number]!.forEach((variable, k) => {
        const inRows = () =>
          Array.from({ length: count }, (_, r) => [...values.slice(r * width, (r + 1) * width)]);
        let gradient: GradientPair[0] = values;
        if (form === "lent") {
          const room = this.runtime.allocate(values.length, "float32", { near: variable }) as Float32Array;
          room.set(values);
          lent.push(room);
          gradient = room;
        } else if (form === "nested") gradient = inRows();
        else if (form === "slices") gradient = { indices, values };
        else if (form === "null") gradient = null;
        lists[k]!.push([gradient, variable]);
      });
    }
    for (const [k, optimizer] of [this.kept, renewed].entries()) {
      if (sync) optimizer.applyGradientsSync(lists[k]!);
      else await optimizer.applyGradients(lists[k]!);
    }
    for (const room of lent) this.runtime.release(room);
    await this.expectSame();
  }

  /** Fails unless all bits agree. */
  async expectSame(): Promise<void> {
    const { optimizer, numbers } = this.#last!;
    expect(this.kept.iterations).toBe(optimizer.iterations);
    for (const [i, number] of numbers.entries()) {
      const at = this.#built.indexOf(number);
      const compare = async (part: string, actual: Variable, expected: Variable) =>
        expectSameBits(await actual.read(), await expected.read(), `${part} ${number}`);
      const [kept, renewed] = this.pairs[number]!;
      await compare("variable", kept, renewed);
      await compare("accumulator", this.kept.accumulators[at]!, optimizer.accumulators[i]!);
      if (optimizer.averages.length === 0) continue;
      await compare("average", this.kept.averages[at]!, optimizer.averages[i]!);
    }
  }

  dispose(): void {
    for (const optimizer of [this.kept, this.#last?.optimizer]) optimizer?.dispose();
    for (const variable of this.pairs.flat()) variable.dispose();
  }

  /** A new optimizer with the state of the last one. */
  async #renew(): Promise<Adagrad> {
    await this.runtime.synchronize();
    const numbers = this.alive;
    const before = this.#last;
    const renewed = new Adagrad({ ...this.#options, learningRate: this.#rate });
    renewed.iterations = before?.optimizer.iterations ?? 0;
    renewed.build(numbers.map((number) => this.pairs[number]![1]));
    for (const [i, number] of numbers.entries()) {
      if (before === undefined) break;
      const at = before.numbers.indexOf(number);
      renewed.accumulators[i]!.assign(await before.optimizer.accumulators[at]!.read());
      if (renewed.averages.length > 0)
        renewed.averages[i]!.assign(await before.optimizer.averages[at]!.read());
    }
    before?.optimizer.dispose();
    this.#last = { optimizer: renewed, numbers };
    return renewed;
  }
}
