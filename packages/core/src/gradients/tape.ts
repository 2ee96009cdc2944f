import { ArgumentError } from "../errors/index.js";
import type { Variable } from "../variable/variable.js";
import type { Gradient, GradientPair } from "./gradient.js";
import { checkVariableList } from "./pairs.js";

/**
 * What automatic differentiation offers an optimizer, after tf.GradientTape. An adapter of a differentiation
 * library implements it.
 *
 * @example
 * import { Adagrad, Variable } from "@shardgrad/core";
 * const weights = new Variable([3]);
 * const tape = { watch() {}, gradient: (loss, [w]) => [[2 * w.data[0]]] }; // of w², by hand
 * const pairs = new Adagrad().computeGradients(() => weights.data[0] ** 2, [weights], tape);
 * console.log(pairs[0][0]); // [ 6 ]
 */
export interface GradientTape<Loss = unknown> {
  /** Records operations on these variables from now on. */
  watch(variables: readonly Variable[]): void;
  /** One gradient for each variable, null where the loss does not depend on it. */
  gradient(loss: Loss, variables: readonly Variable[]): readonly (Gradient | null)[];
}

/** What a loss function returns when no tape is used: the loss, and its gradients in the order of the variables. */
export interface LossWithGradients<Loss = number> {
  readonly loss: Loss;
  readonly gradients: readonly (Gradient | null)[];
}

export interface ComputedGradients {
  readonly loss: unknown;
  readonly pairs: GradientPair[];
}

/**
 * Loss and gradient pairs.
 * @throws ArgumentError when a loss that is not a function comes without a tape, or a tape or a loss function
 *   does not return what it should
 */
export function differentiate(
  loss: unknown,
  variables: readonly Variable[],
  tape: GradientTape | undefined,
): ComputedGradients | Promise<ComputedGradients> {
  checkVariableList(variables);
  if (typeof loss !== "function") {
    if (tape === undefined || tape === null) {
      const message = `\`tape\` is required when a \`Tensor\` loss is passed. Received: loss=${String(loss)}, tape=None.`;
      throw new ArgumentError({ argument: "tape", received: tape, expected: "a GradientTape", message });
    }
    return paired(loss, checkTape(tape).gradient(loss, variables), variables);
  }
  if (tape !== undefined && tape !== null) {
    checkTape(tape).watch(variables);
    return whenSettled(loss(), (value) => paired(value, tape.gradient(value, variables), variables));
  }
  return whenSettled(loss(), (value) => {
    const result = value as LossWithGradients | null;
    if (typeof result !== "object" || result === null || !Array.isArray(result.gradients)) {
      const expected = "a function that returns { loss, gradients }, as no tape is given";
      throw new ArgumentError({ argument: "loss", received: value, expected });
    }
    return paired(result.loss, result.gradients, variables);
  });
}

function whenSettled<T>(value: unknown, use: (value: unknown) => T): T | Promise<T> {
  return typeof (value as Promise<unknown> | undefined)?.then === "function"
    ? (value as Promise<unknown>).then(use)
    : use(value);
}

function checkTape(tape: GradientTape): GradientTape {
  if (typeof tape.watch === "function" && typeof tape.gradient === "function") return tape;
  throw new ArgumentError({
    argument: "tape",
    received: tape,
    expected: "an object with watch and gradient",
  });
}

function paired(
  loss: unknown,
  gradients: readonly (Gradient | null)[],
  variables: readonly Variable[],
): ComputedGradients {
  if (!Array.isArray(gradients) || gradients.length !== variables.length) {
    const expected = `one gradient for each of the ${variables.length} variables`;
    throw new ArgumentError({ argument: "gradients", received: gradients, expected });
  }
  return { loss, pairs: variables.map((variable, i) => [gradients[i] ?? null, variable] as const) };
}
