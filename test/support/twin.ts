import {
  Adagrad,
  type AdagradOptions,
  type Gradient,
  type GradientPair,
  type Runtime,
  Variable,
} from "@shardgrad/core";
import { expect } from "vitest";
import { disposeAll, typed } from "./library.js";
import {
  type DTypeName,
  Reference,
  type ReferenceGradient,
  type ReferenceOptions,
  ReferenceVariable,
  rounding,
} from "./reference.js";
import { expectClose, expectSameBits, type State, stateOf, valuesOf } from "./state.js";

/** How the numbers of a gradient are handed to the library; the default is a typed array of the dtype. */
export type Form = (values: ArrayLike<number>, dtype: DTypeName, shape: readonly number[]) => unknown;

export interface StepOptions {
  readonly mode?: "async" | "sync";
  readonly form?: Form;
  /** How row numbers are handed to the library; the default is a list of numbers. */
  readonly rowNumbers?: (rows: readonly number[]) => unknown;
  /** Hands null gradients over, about which the library warns. Default true. */
  readonly withNull?: boolean;
}

/** The optimizer and the plain reference side by side, fed with the same numbers. */
export class Twin {
  readonly optimizer: Adagrad;
  readonly reference: Reference;
  readonly variables: Variable[] = [];
  readonly oracles: ReferenceVariable[] = [];
  readonly #runtime: Runtime;

  constructor(
    runtime: Runtime,
    options: ReferenceOptions & Pick<AdagradOptions, "duplicateIndices" | "accumulator" | "sparseEma"> = {},
  ) {
    this.#runtime = runtime;
    this.optimizer = new Adagrad({ ...(options as AdagradOptions), runtime });
    this.reference = new Reference(options);
  }

  /** Adds a variable with these initial numbers, rounded to the dtype. */
  add(shape: readonly number[], initial: ArrayLike<number>, dtype: DTypeName = "float32"): Variable {
    const name = `v${this.variables.length}`;
    const options = { name, shape: [...shape], dtype, runtime: this.#runtime };
    const variable = new Variable(typed(dtype, initial), options);
    this.variables.push(variable);
    this.oracles.push(new ReferenceVariable(dtype, shape, initial));
    return variable;
  }

  /** One step of both; gradients are in the order of the variables, rounded to their dtypes here. */
  async step(
    gradients: readonly (ReferenceGradient | null)[],
    { mode = "async", form = typedForm, rowNumbers = (rows) => rows, withNull = true }: StepOptions = {},
  ) {
    const rounded = gradients.map((gradient, i) => roundGradient(gradient, this.oracles[i]!.dtype));
    this.reference.step(rounded.map((gradient, i) => [gradient, this.oracles[i]!]));
    const pairs = rounded.map((gradient, i): GradientPair => {
      const variable = this.variables[i]!;
      return [libraryGradient(gradient, variable, form, rowNumbers), variable];
    });
    const given = withNull ? pairs : pairs.filter(([gradient]) => gradient !== null);
    if (mode === "sync") this.optimizer.applyGradientsSync(given);
    else await this.optimizer.applyGradients(given);
    await this.#runtime.synchronize();
  }

  /** Another number of rows of both; `added` makes the numbers of as many elements as come, zeros without it. */
  async resize(
    i: number,
    rows: number,
    { mode = "async", added }: { mode?: "async" | "sync"; added?: (count: number) => ArrayLike<number> } = {},
  ): Promise<void> {
    const [variable, oracle] = [this.variables[i]!, this.oracles[i]!];
    const numbers = Math.max(0, rows - oracle.shape[0]!) * oracle.rowSize;
    const values = added?.(numbers);
    this.reference.resize(oracle, rows, values ?? new Float64Array(numbers));
    const options = values === undefined ? {} : { initializer: () => Float64Array.from(values) };
    if (mode === "sync") variable.resizeRowsSync(rows, options);
    else await variable.resizeRows(rows, options);
  }

  /** Both agree in every bit of variables, accumulators and averages. */
  expectSame(what = ""): void {
    this.#compare((actual, expected, part) => expectSameBits(actual, expected, `${what} ${part}`));
  }

  /** Both agree within a tolerance (steps that clip by a norm, whose sum has no defined order). */
  expectClose(tolerance: { rtol: number; atol: number }, what = ""): void {
    this.#compare((actual, expected, part) => expectClose(actual, expected, tolerance, `${what} ${part}`));
  }

  #compare(compare: (actual: Float64Array, expected: Float64Array, part: string) => void): void {
    expect(this.optimizer.iterations).toBe(this.reference.iterations);
    expect(this.optimizer.learningRate).toBe(this.reference.learningRate);
    for (const [i, variable] of this.variables.entries()) {
      compare(valuesOf(variable), this.oracles[i]!.values, variable.name);
    }
    const slots = this.oracles.filter(({ built }) => built);
    if (slots.length !== this.optimizer.accumulators.length) return; // not built, or not with all of them
    slots.forEach((oracle, i) => {
      compare(valuesOf(this.optimizer.accumulators[i]!), oracle.accumulator, `accumulator ${i}`);
      const average = this.optimizer.averages[i];
      if (average) compare(valuesOf(average), oracle.average, `average ${i}`);
    });
  }

  state(): State {
    return stateOf(this.optimizer, this.variables);
  }

  dispose(): void {
    disposeAll(this.variables, this.optimizer);
  }
}

export const typedForm: Form = (values, dtype) => typed(dtype, values);

function libraryGradient(
  gradient: ReferenceGradient | null,
  variable: Variable,
  form: Form,
  rowNumbers: NonNullable<StepOptions["rowNumbers"]>,
): Gradient | null {
  if (gradient === null) return null;
  if ("dense" in gradient) return form(gradient.dense, variable.dtype, variable.shape) as Gradient;
  const shape = [gradient.indices.length, ...variable.shape.slice(1)];
  const values = form(gradient.values, variable.dtype, shape) as never;
  return { indices: rowNumbers(Array.from(gradient.indices)) as never, values };
}

function roundGradient(gradient: ReferenceGradient | null, dtype: DTypeName): ReferenceGradient | null {
  if (gradient === null) return null;
  const round = rounding[dtype];
  if ("dense" in gradient) return { dense: Float64Array.from(gradient.dense, round) };
  return { indices: gradient.indices, values: Float64Array.from(gradient.values, round) };
}

/** Nested arrays of a shape from flat numbers. */
export function nest(values: ArrayLike<number>, shape: readonly number[], start = 0): unknown {
  if (shape.length === 0) return values[start];
  const [rows, ...rest] = shape as [number, ...number[]];
  const size = rest.reduce((product, n) => product * n, 1);
  return Array.from({ length: rows }, (_, row) => nest(values, rest, start + row * size));
}
