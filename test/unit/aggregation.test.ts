import {
  Adagrad,
  ArgumentError,
  type Gradient,
  type GradientPair,
  InProcessAggregator,
  Runtime,
  StateError,
  Variable,
} from "@shardgrad/core";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { thrownBy } from "../support/outcome.js";
import { expectSameState, stateOf } from "../support/state.js";

const runtime = new Runtime({ threads: 0 });
afterAll(() => runtime.close());

describe("aggregateGradients", () => {
  const w = new Variable([1], { runtime });
  const pairs: GradientPair[] = [[[1], w]];

  test("gives the pairs back by default", () => {
    expect([...new Adagrad({ runtime }).aggregateGradients(pairs)]).toEqual(pairs);
  });

  test("can be overridden, and skipped", async () => {
    class Doubling extends Adagrad {
      calls = 0;
      override aggregateGradients(given: readonly GradientPair[]): GradientPair[] {
        this.calls++;
        return given.map(([gradient, variable]) => [[2 * (gradient as number[])[0]!], variable]);
      }
    }
    const optimizer = new Doubling({ initialAccumulatorValue: 0, runtime });
    await optimizer.applyGradients(pairs);
    optimizer.applyGradientsSync(pairs);
    expect([optimizer.calls, optimizer.accumulators[0]!.toArray()]).toEqual([2, [8]]);
    await optimizer.applyGradients(pairs, { skipGradientsAggregation: true });
    expect([optimizer.calls, optimizer.accumulators[0]!.toArray()]).toEqual([2, [9]]);
  });

  test("an aggregator given as an option is asked", () => {
    const seen: unknown[] = [];
    const aggregator = {
      aggregateGradients(given: readonly GradientPair[]) {
        seen.push(given);
        return given;
      },
    };
    new Adagrad({ aggregator, runtime }).applyGradientsSync(pairs);
    expect(seen).toEqual([pairs]);
  });
});

describe("InProcessAggregator", () => {
  let table: Variable;
  let half: Variable;
  beforeEach(() => {
    table = Variable.zeros([3, 2], { name: "table", runtime });
    half = Variable.zeros([2], { name: "half", dtype: "float16", runtime });
  });

  /** The sum of the replicas' gradients of `variable`, as a dense list, with its slices in list order. */
  function sum(variable: Variable, ...gradients: (Gradient | null)[]) {
    const aggregator = new InProcessAggregator({ replicas: gradients.length });
    const own = gradients.pop() as Gradient | null;
    for (const gradient of gradients) aggregator.contribute([[gradient, variable]]);
    const [pair] = aggregator.aggregateGradients([[own, variable]]);
    expect(pair![1]).toBe(variable);
    return pair![0];
  }

  test("dense and dense: added", () => {
    const result = sum(
      table,
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      new Float32Array(6).fill(10),
      new Float32Array(6).fill(0.5),
    );
    expect([...(result as Float32Array)]).toEqual([11.5, 12.5, 13.5, 14.5, 15.5, 16.5]);
  });

  test("slices and slices: one after the other, not merged", () => {
    const result = sum(
      table,
      {
        indices: [2, 0],
        values: [
          [1, 2],
          [3, 4],
        ],
      },
      { indices: Int32Array.of(2), values: Float32Array.of(5, 6) },
    ) as { indices: ArrayLike<number>; values: ArrayLike<number> };
    expect([...Array.from(result.indices)]).toEqual([2, 0, 2]);
    expect([...Array.from(result.values)]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test.each([true, false])("dense and slices, the dense one first: %s", (denseFirst) => {
    const dense = new Float32Array(6).fill(1);
    const slices = {
      indices: [1, 1],
      values: [
        [10, 20],
        [100, 200],
      ],
    };
    const result = denseFirst ? sum(table, dense, slices) : sum(table, slices, dense);
    expect([...(result as Float32Array)]).toEqual([1, 1, 111, 221, 1, 1]);
    expect([...dense]).toEqual([1, 1, 1, 1, 1, 1]); // the caller's own is not touched
  });

  test("null where a replica has no gradient; null when none has", () => {
    const dense = new Float32Array(6).fill(2);
    expect([...(sum(table, null, dense, null) as Float32Array)]).toEqual([2, 2, 2, 2, 2, 2]);
    expect(sum(table, null, null)).toBeNull();
  });

  test("each addition rounds to the dtype of the variable", () => {
    const result = sum(half, [2048, 1], [1, 1], [1, 1]) as Uint16Array;
    expect(result).toBeInstanceOf(Uint16Array);
    expect([...result]).toEqual([0x6800, 0x4200]); // 2048 + 1 stays 2048, twice; 1 + 1 + 1 is 3
  });

  test("one step of two replicas is the step of the sum", async () => {
    const other = Variable.zeros([3, 2], { runtime });
    const aggregator = new InProcessAggregator({ replicas: 2 });
    const optimizer = new Adagrad({ learningRate: 0.5, globalClipnorm: 3, aggregator, runtime });
    const plain = new Adagrad({ learningRate: 0.5, globalClipnorm: 3, runtime });
    for (let s = 0; s < 3; s++) {
      aggregator.contribute([[new Float32Array(6).fill(s + 1), table]]);
      expect(aggregator.pending).toBe(1);
      await optimizer.applyGradients([[new Float32Array(6).fill(0.25), table]]);
      expect(aggregator.pending).toBe(0);
      await plain.applyGradients([[new Float32Array(6).fill(s + 1.25), other]]);
    }
    expectSameState(stateOf(optimizer, [table]), stateOf(plain, [other]));
  });

  test("a step before all replicas have contributed, and one contribution too many, are refused", async () => {
    const aggregator = new InProcessAggregator({ replicas: 2 });
    const optimizer = new Adagrad({ aggregator, runtime });
    const pairs = [[new Float32Array(6), table]] as const;
    expect(await thrownBy(() => optimizer.applyGradients(pairs))).toBeInstanceOf(StateError);
    aggregator.contribute(pairs);
    expect(() => aggregator.contribute(pairs)).toThrow(StateError);
    await optimizer.applyGradients(pairs);
    expect(optimizer.iterations).toBe(1);
  });

  test("a bad contribution is refused when it is made", () => {
    const aggregator = new InProcessAggregator({ replicas: 2 });
    expect(() => aggregator.contribute([[new Float32Array(5), table]])).toThrow(ArgumentError);
    expect(() => aggregator.contribute([[{ indices: [3], values: [[1, 2]] }, table]])).toThrow(ArgumentError);
    expect(() => aggregator.contribute(5 as never)).toThrow(ArgumentError);
    expect(aggregator.pending).toBe(0);
  });

  test("a refused step keeps the contributions, so that it can be made again", async () => {
    const aggregator = new InProcessAggregator({ replicas: 2 });
    const optimizer = new Adagrad({ aggregator, runtime });
    aggregator.contribute([[new Float32Array(6).fill(1), table]]);
    expect(await thrownBy(() => optimizer.applyGradients([[new Float32Array(5), table]]))).toBeInstanceOf(
      ArgumentError,
    );
    expect(aggregator.pending).toBe(1);
    await optimizer.applyGradients([[new Float32Array(6).fill(1), table]]);
    expect(aggregator.pending).toBe(0);
  });
});
