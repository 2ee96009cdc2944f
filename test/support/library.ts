import {
  Adagrad,
  type AdagradOptions,
  deserializeSchedule,
  type Gradient,
  type GradientPair,
  IndexedSlices,
  type Runtime,
  Variable,
} from "@shardgrad/core";
import {
  camelCase,
  type GoldenGradient,
  type GoldenStep,
  type GoldenVariable,
  numbers,
  revive,
  type Trajectory,
} from "./golden.js";
import { numberToHalf } from "./half.js";
import { type State, stateOf } from "./state.js";

/** A flat list as the typed array that holds the dtype; a float16 as its bit patterns. */
export function typed(dtype: string, values: ArrayLike<number>): Float32Array | Float64Array | Uint16Array {
  if (dtype === "float64") return Float64Array.from(values);
  if (dtype === "float16") return Uint16Array.from(values, numberToHalf);
  return Float32Array.from(values);
}

export function goldenVariable(recorded: GoldenVariable, runtime: Runtime): Variable {
  const { name, shape, dtype, initial } = recorded;
  const options = { shape: [...shape], dtype, runtime, ...(name === null ? {} : { name }) };
  return new Variable(typed(dtype, numbers(initial)), options);
}

/** Recorded keyword arguments as options; a recorded schedule becomes an instance. */
export function goldenOptions(recorded: Readonly<Record<string, unknown>>): AdagradOptions {
  const entries = Object.entries(revive(recorded)).map(([key, value]) => {
    const schedule = key === "learning_rate" && typeof value === "object" && value !== null;
    return [camelCase(key), schedule ? deserializeSchedule(value as never) : value];
  });
  return Object.fromEntries(entries);
}

export function goldenGradient(recorded: GoldenGradient, dtype: string): Gradient | null {
  if (recorded === null) return null;
  if ("dense" in recorded) return typed(dtype, numbers(recorded.dense));
  const values = typed(dtype, recorded.values.flatMap(numbers));
  return new IndexedSlices({ indices: [...recorded.indices], values });
}

export function goldenPairs(step: GoldenStep, variables: readonly Variable[]): GradientPair[] {
  return step.gradients.map((gradient, k) => {
    const variable = variables[step.order?.[k] ?? k]!;
    return [goldenGradient(gradient, variable.dtype), variable];
  });
}

/** What a trajectory went through: the state after construction, after each step, and at the end. */
export interface Trace {
  readonly optimizer: Adagrad;
  readonly initialLearningRate: number;
  readonly states: readonly State[];
  /** One entry a step: what it was refused with. */
  readonly errors: readonly unknown[];
  readonly losses: readonly unknown[];
  readonly finalizeError: unknown;
  readonly final: State;
}

/** Runs a recorded trajectory: with `applyGradients`, its synchronous twin, or `minimize` on a replaying tape. */
export async function runTrajectory(
  recorded: Trajectory,
  runtime: Runtime,
  mode: "async" | "sync" | "minimize",
): Promise<Trace> {
  const variables = recorded.variables.map((variable) => goldenVariable(variable, runtime));
  const optimizer = new Adagrad({ ...goldenOptions(recorded.constructor), runtime });
  if (recorded.set_iterations !== undefined) optimizer.iterations = recorded.set_iterations;
  const initialLearningRate = optimizer.learningRate;
  const states: State[] = [];
  const errors: unknown[] = [];
  const losses: unknown[] = [];
  for (const step of recorded.steps) {
    if (step.set_learning_rate !== undefined) optimizer.learningRate = step.set_learning_rate;
    const pairs = goldenPairs(step, variables);
    const options = { skipGradientsAggregation: step.skip_gradients_aggregation ?? false };
    let error: unknown;
    try {
      if (mode === "sync") optimizer.applyGradientsSync(pairs, options);
      else if (mode === "async") await optimizer.applyGradients(pairs, options);
      else losses.push(await optimizer.minimize(...replay(step, pairs)));
    } catch (thrown) {
      error = thrown;
    }
    errors.push(error);
    await runtime.synchronize();
    states.push(stateOf(optimizer, variables));
  }
  let finalizeError: unknown;
  try {
    if (recorded.finalized)
      optimizer.finalizeVariableValues(recorded.finalized.order.map((i) => variables[i]!));
  } catch (thrown) {
    finalizeError = thrown;
  }
  const trace = { optimizer, initialLearningRate, states, errors, losses, finalizeError };
  return { ...trace, final: stateOf(optimizer, variables) };
}

/** The arguments of `minimize` for a tape that hands out what was recorded. */
function replay(step: GoldenStep, pairs: readonly GradientPair[]): Parameters<Adagrad["minimize"]> {
  const gradients = new Map(pairs.map(([gradient, variable]) => [variable, gradient]));
  const tape = {
    watch() {},
    gradient: (_loss: unknown, watched: readonly Variable[]) => watched.map((v) => gradients.get(v) ?? null),
  };
  const varList = pairs.map(([, variable]) => variable);
  return [() => step.loss, varList, tape] as unknown as Parameters<Adagrad["minimize"]>;
}

/** Gives the memory of variables back, and that of an optimizer's own. */
export function disposeAll(variables: Iterable<Variable>, optimizer?: Adagrad): void {
  for (const variable of [...variables, ...(optimizer?.variables ?? [])]) {
    if (!variable.disposed) variable.dispose();
  }
}
