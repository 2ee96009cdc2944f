import { Adagrad, ArgumentError, type Gradient, Runtime, Variable } from "@shardgrad/core";
import { afterAll, describe, expect, test } from "vitest";
import { type GoldenNumber, golden, numbers } from "../support/golden.js";
import { goldenOptions, goldenVariable } from "../support/library.js";
import { thrownBy } from "../support/outcome.js";
import { expectSameBits, expectSameState, stateOf, valuesOf } from "../support/state.js";

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

const w = () => new Variable([3, 4], { name: "w", runtime });
const optimizer = () => new Adagrad({ learningRate: 1, runtime });

/** A tape for sum(x²), where a variable named "unused" has no part in it; it notes its calls. */
function tapeOf() {
  const calls: unknown[] = [];
  return {
    calls,
    watch(variables: readonly Variable[]): void {
      calls.push(["watch", variables]);
    },
    gradient(loss: number, variables: readonly Variable[]): (Gradient | null)[] {
      calls.push(["gradient", loss, variables]);
      return variables.map((v) =>
        v.name === "unused" ? null : Float32Array.from(valuesOf(v), (x) => 2 * x),
      );
    },
  };
}

const sumOfSquares = (variable: Variable) => valuesOf(variable).reduce((sum, x) => sum + x * x, 0);

describe("computeGradients", () => {
  test("with a tape watches the variables before it calls the loss", () => {
    const variable = w();
    const unused = new Variable([1], { name: "unused", runtime });
    const tape = tapeOf();
    const loss = () => {
      tape.calls.push("loss");
      return sumOfSquares(variable);
    };
    const pairs = optimizer().computeGradients(loss, [variable, unused], tape);
    expect(tape.calls).toEqual([["watch", [variable, unused]], "loss", ["gradient", 25, [variable, unused]]]);
    expect(pairs).toEqual([
      [Float32Array.of(6, 8), variable],
      [null, unused],
    ]);
  });

  test("with a tape and a value that was computed under it", () => {
    const variable = w();
    const pairs = optimizer().computeGradients(25, [variable], tapeOf());
    expect(pairs).toEqual([[Float32Array.of(6, 8), variable]]);
  });

  test("with a loss that brings its gradients", () => {
    const variable = w();
    const loss = () => ({ loss: 25, gradients: [Float32Array.of(6, 8)] });
    expect(optimizer().computeGradients(loss, [variable])).toEqual([[Float32Array.of(6, 8), variable]]);
  });

  test("of a promise is a promise", async () => {
    const variable = w();
    const loss = async () => ({ loss: 25, gradients: [Float32Array.of(6, 8)] });
    const pairs = optimizer().computeGradients(loss, [variable]);
    expect(pairs).toBeInstanceOf(Promise);
    expect(await pairs).toEqual([[Float32Array.of(6, 8), variable]]);
  });

  test("changes nothing", () => {
    const variable = w();
    const made = optimizer();
    made.computeGradients(() => ({ loss: 1, gradients: [[1, 1]] }), [variable]);
    expect([made.iterations, variable.toArray()]).toEqual([0, [3, 4]]);
  });
});

describe("minimize", () => {
  test("is computeGradients and applyGradients, and gives the loss before the step", async () => {
    const [a, b] = [w(), w()];
    const [first, second] = [optimizer(), optimizer()];
    expect(await first.minimize(() => sumOfSquares(a), [a], tapeOf())).toBe(25);
    await second.applyGradients([[[6, 8], b]]);
    expectSameState(stateOf(first, [a]), stateOf(second, [b]));
  });

  test("takes a loss that computes asynchronously", async () => {
    const variable = w();
    const loss = async () => ({ loss: sumOfSquares(variable), gradients: [[6, 8]] });
    expect(await optimizer().minimize(loss, [variable])).toBe(25);
  });

  test("goes down", async () => {
    const variable = w();
    const made = optimizer();
    const losses: number[] = [];
    for (let s = 0; s < 20; s++)
      losses.push(await made.minimize(() => sumOfSquares(variable), [variable], tapeOf()));
    expect(losses.at(-1)).toBeLessThan(losses[0]! / 3);
    expect(losses.every((loss, s) => s === 0 || loss < losses[s - 1]!)).toBe(true);
  });

  test.each(["quadratic", "clipped_quadratic"])(
    "of a real loss follows the recorded %s bit for bit",
    async (name) => {
      const [recorded] = golden("minimize").filter((c) => c.name === name);
      const target = numbers(recorded!.loss!.parameters.t as GoldenNumber[]);
      const x = goldenVariable(recorded!.variables[0]!, runtime);
      const made = new Adagrad({ ...goldenOptions(recorded!.constructor), runtime });
      const f = Math.fround;
      for (const [s, step] of recorded!.steps.entries()) {
        await made.minimize(() => {
          const differences = [...valuesOf(x)].map((value, i) => f(value - target[i]!));
          return { loss: 0, gradients: [differences.map((d) => 2 * d)] };
        }, [x]);
        expectSameBits(valuesOf(x), numbers(step.variables[0]!), `step ${s} `);
      }
    },
  );
});

describe("bad losses are refused, and change nothing", () => {
  const variable = w();
  const ones = [[1, 1]];
  test.each([
    ["a value without a tape", 3, undefined],
    ["no loss", undefined, undefined],
    ["a loss without gradients", () => 25, undefined],
    ["gradients that are no list", () => ({ loss: 1, gradients: 5 }), undefined],
    ["a gradient missing", () => ({ loss: 1, gradients: [] }), undefined],
    ["a gradient too many", () => ({ loss: 1, gradients: [...ones, ...ones] }), undefined],
    ["a tape that is none", () => 25, {}],
    ["a tape that returns no list", () => 25, { watch() {}, gradient: () => undefined }],
    ["a tape that returns too few", () => 25, { watch() {}, gradient: () => [] }],
  ])("%s", async (_, loss, tape) => {
    const made = optimizer();
    expect(
      await thrownBy(() => made.computeGradients(loss as never, [variable], tape as never)),
    ).toBeInstanceOf(ArgumentError);
    expect(await thrownBy(() => made.minimize(loss as never, [variable], tape as never))).toBeInstanceOf(
      ArgumentError,
    );
    expect([made.iterations, variable.toArray()]).toEqual([0, [3, 4]]);
  });

  test("a list of variables that is none", async () => {
    const made = optimizer();
    for (const wrong of [undefined, 5, [5]]) {
      const loss = () => ({ loss: 1, gradients: ones });
      expect(await thrownBy(() => made.minimize(loss, wrong as never))).toBeInstanceOf(ArgumentError);
    }
  });

  test("an error of the loss comes through", async () => {
    const failure = new Error("from the loss");
    const loss = () => {
      throw failure;
    };
    expect(await thrownBy(() => optimizer().minimize(loss, [variable]))).toBe(failure);
    expect(await thrownBy(() => optimizer().computeGradients(loss, [variable]))).toBe(failure);
  });
});
