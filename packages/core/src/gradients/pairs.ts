import {
  ArgumentError,
  DisposedVariableError,
  DuplicateVariableError,
  NoGradientsError,
} from "../errors/index.js";
import type { Runtime } from "../runtime/runtime.js";
import { variableInternals } from "../variable/internals.js";
import type { Variable } from "../variable/variable.js";
import { type CheckedGradient, checkGradient, type GradientPair } from "./gradient.js";

/** A pair of a step that fits: nothing of it can fail any more. */
export interface CheckedPair {
  readonly variable: Variable;
  readonly gradient: CheckedGradient;
}

/** The pairs of a call. @throws ArgumentError, NoGradientsError for an empty list */
export function pairList(pairs: Iterable<GradientPair>): GradientPair[] {
  if (typeof pairs?.[Symbol.iterator] !== "function") {
    throw new ArgumentError({
      argument: "pairs",
      received: pairs,
      expected: "a list of [gradient, variable] pairs",
    });
  }
  const list = [...pairs];
  for (const pair of list) {
    if (!Array.isArray(pair) || pair.length !== 2) {
      throw new ArgumentError({ argument: "pairs", received: pair, expected: "pairs [gradient, variable]" });
    }
    checkVariable(pair[1], "pairs");
  }
  if (list.length === 0) {
    throw new NoGradientsError({
      argument: "pairs",
      received: list,
      expected: "at least one [gradient, variable] pair",
    });
  }
  return list;
}

/** @throws ArgumentError unless it is a list of Variables */
export function checkVariableList(variables: unknown): asserts variables is readonly Variable[] {
  if (!Array.isArray(variables)) {
    throw new ArgumentError({
      argument: "variables",
      received: variables,
      expected: "an array of Variables",
    });
  }
  for (const variable of variables) checkVariable(variable, "variables");
}

/** Structural, so that variables of another copy of this package are recognized. */
export function checkVariable(variable: unknown, argument: string): asserts variable is Variable {
  if ((variable as Partial<Variable> | null | undefined)?.[variableInternals] !== undefined) return;
  throw new ArgumentError({ argument, received: variable, expected: "a Variable" });
}

/** @throws DisposedVariableError, DuplicateVariableError, or ArgumentError for a variable of another runtime */
export function checkVariables(variables: readonly Variable[], runtime: Runtime): void {
  checkVariableList(variables);
  // Not a Set: marks cost a tenth, and a step checks every list. Of this call alone, whatever other copies of this package do.
  const mark = {};
  for (const variable of variables) {
    const internals = variable[variableInternals];
    const received = variable.name;
    if (variable.disposed) {
      const message = `The variable ${variable.name} was disposed.`;
      throw new DisposedVariableError({
        argument: "variable",
        received,
        expected: "a live variable",
        message,
      });
    }
    if (internals.runtime !== runtime) {
      throw new ArgumentError({
        argument: "variable",
        received,
        expected: "a variable of the optimizer's runtime",
      });
    }
    if (internals.mark === mark) {
      const message = `The variable ${variable.name} is in the list twice.`;
      throw new DuplicateVariableError({
        argument: "variables",
        received,
        expected: "each variable once",
        message,
      });
    }
    internals.mark = mark;
  }
}

/**
 * The pairs that have a gradient, checked against their variables.
 * @throws the errors of checkGradient
 */
export function checkPairs(list: readonly GradientPair[]): CheckedPair[] {
  const checked: CheckedPair[] = [];
  for (const pair of list) {
    // By index: taking a pair apart goes through its iterator.
    const gradient = pair[0];
    const variable = pair[1];
    if (gradient !== null && gradient !== undefined)
      checked.push({ variable, gradient: checkGradient(gradient, variable) });
  }
  return checked;
}

/**
 * Warns of variables without a gradient. Keras 2.9.0 does so when it aggregates and when it applies.
 * @throws NoGradientsError when no pair has a gradient
 */
export function warnOfMissing(list: readonly GradientPair[]): void {
  if (!list.some(isWithoutGradient)) return;
  const missing = list.filter(isWithoutGradient);
  const names = `[${missing.map(([, { name }]) => `'${name}'`).join(", ")}]`;
  if (missing.length === list.length) {
    const message = `No gradients provided for any variable: (${names},). Provided \`grads_and_vars\` is all null.`;
    throw new NoGradientsError({
      argument: "pairs",
      received: list,
      expected: "at least one gradient",
      message,
    });
  }
  process.emitWarning(
    `Gradients do not exist for variables ${names} when minimizing the loss. If you're using ` +
      "`model.compile()`, did you forget to provide a `loss`argument?",
    { type: "ShardgradWarning" },
  );
}

function isWithoutGradient(pair: GradientPair): boolean {
  return pair[0] === null || pair[0] === undefined;
}
