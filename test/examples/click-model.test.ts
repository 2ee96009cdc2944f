/** Gradient, scores and learning of the click-model example. */
import { Runtime } from "@shardgrad/core";
import { describe, expect, it } from "vitest";
import { ConstantBaseline, PlainLogisticRegression } from "../../examples/dist/click-model/baselines.js";
import { fieldCount } from "../../examples/dist/click-model/features.js";
import { type LandedFlight, readFlights } from "../../examples/dist/click-model/flights.js";
import { Learner, StoppedError } from "../../examples/dist/click-model/learner.js";
import { gradientOf, scoreEvents } from "../../examples/dist/click-model/machine.js";
import { defaultModel, Model } from "../../examples/dist/click-model/model.js";
import { logLossOf, Scores, WindowScores } from "../../examples/dist/click-model/scores.js";
import { Random } from "../../examples/dist/wordnet/random.js";

function uniform(random: Random): number {
  return random.below(1_000_000) / 1_000_000;
}

describe("the factorization machine", () => {
  const layout = { rowSize: 4, fields: 5, paired: 3 };
  // The second event names row 2 twice among its pairs, as a collision of hashes would.
  const rows = Int32Array.of(0, 1, 2, 3, 4, 2, 2, 5, 6, 0);
  const labels = [1, 0];
  const random = new Random(7);
  const table = Float32Array.from({ length: 7 * 4 }, () => uniform(random) - 0.5);
  const bias = 0.25;

  function bruteScore(event: number): number {
    const own = [...rows.subarray(5 * event, 5 * event + 5)].map((at) => table.subarray(4 * at, 4 * at + 4));
    let score = bias;
    for (const vector of own) score += vector[0]!;
    for (let i = 0; i < 3; i++) {
      for (let j = i + 1; j < 3; j++) {
        for (let k = 1; k < 4; k++) score += own[i]![k]! * own[j]![k]!;
      }
    }
    return score;
  }

  function loss(atBias = bias): number {
    const scores = scoreEvents(table, atBias, rows, layout);
    return scores.reduce((sum, score, i) => sum + logLossOf(1 / (1 + Math.exp(-score)), labels[i] === 1), 0);
  }

  it("scores as the sum over all pairs does", () => {
    const scores = scoreEvents(table, bias, rows, layout);
    expect(scores[0]).toBeCloseTo(bruteScore(0), 10);
    expect(scores[1]).toBeCloseTo(bruteScore(1), 10);
  });

  it("has the gradient that finite differences give", () => {
    const values = new Float32Array(rows.length * 4).fill(Number.NaN);
    const scores = scoreEvents(table, bias, rows, layout);
    const biasGradient = gradientOf(table, rows, layout, scores, labels, values);
    const dense = new Float64Array(table.length);
    rows.forEach((at, i) => {
      for (let k = 0; k < 4; k++) dense[4 * at + k]! += values[4 * i + k]!;
    });
    const step = 2 ** -7;
    for (let i = 0; i < table.length; i++) {
      const before = table[i]!;
      table[i] = before + step;
      const above = loss();
      table[i] = before - step;
      const below = loss();
      table[i] = before;
      expect(dense[i]).toBeCloseTo((above - below) / (2 * step), 4);
    }
    expect(biasGradient).toBeCloseTo((loss(bias + step) - loss(bias - step)) / (2 * step), 4);
    expect(dense.filter((value) => Math.abs(value) > 0.01).length).toBeGreaterThan(10);
  });
});

describe("log loss and AUC", () => {
  const random = new Random(11);
  // In the middle of a bin, so that rounding to bins changes nothing; many ties.
  const events = Array.from({ length: 700 }, () => {
    const probability = (random.below(200) * 20 + 0.5) / 4096;
    return { probability, late: uniform(random) < probability };
  });

  function brute(of: typeof events) {
    let won = 0;
    let pairs = 0;
    for (const a of of.filter(({ late }) => late)) {
      for (const b of of.filter(({ late }) => !late)) {
        pairs++;
        if (a.probability > b.probability) won++;
        else if (a.probability === b.probability) won += 0.5;
      }
    }
    const losses = of.map(({ probability: p, late }) => -Math.log(late ? p : 1 - p));
    return { auc: won / pairs, logLoss: losses.reduce((sum, value) => sum + value, 0) / of.length };
  }

  it("are those of all pairs", () => {
    const scores = new Scores();
    for (const { probability, late } of events) scores.add(probability, late);
    const expected = brute(events);
    expect(scores.auc).toBeCloseTo(expected.auc, 12);
    expect(scores.logLoss).toBeCloseTo(expected.logLoss, 12);
    expect(scores.rate).toBe(events.filter(({ late }) => late).length / 700);
  });

  it("of a window are those of its last events", () => {
    const window = new WindowScores(150);
    for (const { probability, late } of events) window.add(probability, late);
    const expected = brute(events.slice(-150));
    expect(window.scores.count).toBe(150);
    expect(window.scores.auc).toBeCloseTo(expected.auc, 12);
    expect(window.scores.logLoss).toBeCloseTo(expected.logLoss, 9);
  });

  it("are undefined without events, and bounded for a probability of 0 or 1", () => {
    const scores = new Scores();
    expect([scores.auc, scores.logLoss, scores.rate]).toEqual([undefined, undefined, undefined]);
    scores.add(1, true);
    expect(scores.auc).toBeUndefined();
    scores.add(0, true);
    expect(scores.logLoss).toBeCloseTo(-Math.log(1e-7) / 2, 5);
    scores.add(0.5, false);
    expect(scores.auc).toBe(0.5);
  });
});

describe("learning", () => {
  const small = { ...defaultModel, buckets: 2 ** 14 };

  it("takes the same step as Adagrad written out", async () => {
    await using runtime = new Runtime({ threads: 0 });
    const model = new Model(runtime, small);
    const batch = (await readFlights(40)).slice(0, 40);
    const rows = model.rowsOf(batch);
    const layout = { rowSize: 9, fields: fieldCount, paired: 6 };
    const before = (model.table.data as Float32Array).slice();
    const scores = scoreEvents(before, 0, rows, layout);
    const values = new Float32Array(rows.length * 9);
    const labels = batch.map(({ late }) => Number(late));
    const bias = gradientOf(before, rows, layout, scores, labels, values);
    const summed = new Float64Array(before.length);
    rows.forEach((at, i) => {
      for (let k = 0; k < 9; k++) summed[9 * at + k]! += values[9 * i + k]!;
    });
    const moved = (gradient: number): number => (0.07 * gradient) / Math.sqrt(0.1 + gradient * gradient);
    expect(await model.learn(batch)).toEqual(scores.map((score) => 1 / (1 + Math.exp(-score))));
    const after = model.table.data;
    for (let i = 0; i < before.length; i++) {
      expect(Math.abs(after[i]! - (before[i]! - moved(summed[i]!)))).toBeLessThan(1e-5);
    }
    expect(model.bias.data[0]).toBeCloseTo(-moved(bias), 5);
    model.dispose();
  });

  it("refuses a step without events or with too many", async () => {
    await using runtime = new Runtime({ threads: 0 });
    const model = new Model(runtime, { ...small, maxBatch: 2 });
    const flights = await readFlights(3);
    await expect(model.learn([])).rejects.toThrow(RangeError);
    await expect(model.learn(flights)).rejects.toThrow("1 to 2 events, not 3");
    expect(model.optimizer.iterations).toBe(0);
  });

  it("beats the constant on a short stream, predicting each batch before it learns it", async () => {
    await using runtime = new Runtime({ threads: 0 });
    const model = new Model(runtime);
    const constant = new ConstantBaseline();
    const scores = { model: new Scores(), constant: new Scores() };
    const flights = await readFlights(30_000);
    for (let i = 0; i < flights.length; i += 64) {
      const batch = flights.slice(i, i + 64);
      const probabilities = await model.learn(batch);
      batch.forEach(({ late }, k) => {
        scores.model.add(probabilities[k]!, late);
        scores.constant.add(constant.predict(), late);
      });
      for (const { late } of batch) constant.learn(late);
    }
    expect(scores.model.logLoss).toBeLessThan(scores.constant.logLoss! - 0.02);
    expect(scores.model.auc).toBeGreaterThan(0.65);
  });

  it("in plain JavaScript is logistic regression by Adagrad", () => {
    const plain = new PlainLogisticRegression({ buckets: 100, learningRate: 0.5 });
    const rows = Int32Array.from({ length: fieldCount }, (_, i) => i);
    expect(plain.predict(rows, 0)).toBe(0.5);
    plain.learn(rows, [true]);
    const weight = (0.5 * 0.5) / Math.sqrt(0.1 + 0.25);
    expect(plain.predict(rows, 0)).toBeCloseTo(1 / (1 + Math.exp(-(fieldCount + 1) * weight)), 12);
  });

  // Two implementations of the same thing, one of them the baseline that the example is compared with.
  it.each([1, 128])("without factors, %i events a step, is the plain regression", async (stepSize) => {
    await using runtime = new Runtime({ threads: 0 });
    const options = { ...small, factors: 0, learningRate: 0.1 };
    const model = new Model(runtime, options);
    const plain = new PlainLogisticRegression(options);
    const flights = await readFlights(1024);
    for (let i = 0; i < flights.length; i += stepSize) {
      const batch = flights.slice(i, i + stepSize);
      plain.learn(
        model.rowsOf(batch),
        batch.map(({ late }) => late),
      );
      await model.learn(batch);
    }
    const rows = model.rowsOf(flights);
    const probabilities = model.predict(flights);
    const largest = probabilities.map((p, i) => Math.abs(p - plain.predict(rows, i * fieldCount)));
    // The table is float32, the regression float64.
    expect(Math.max(...largest)).toBeLessThan(1e-5);
    expect(Math.max(...probabilities) - Math.min(...probabilities)).toBeGreaterThan(0.3);
  });
});

describe("the learner's queue", () => {
  function gatedModel() {
    const batches: string[][] = [];
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const learn = async (flights: readonly LandedFlight[]) => {
      await gate;
      batches.push(flights.map(({ departure }) => departure));
      if (flights[0]!.departure === "bad") throw new Error("a bad step");
      return Float64Array.from(flights, () => 0.5);
    };
    return { model: { learn } as unknown as Model, batches, open };
  }
  const flight = (departure: string): LandedFlight => ({
    departure,
    origin: "AAA",
    destination: "BBB",
    distance: 1,
    late: false,
  });
  const options = { maxQueue: 1024, stepSize: 2, windowSize: 10 };

  it("keeps the order, cuts into steps, and finishes before it stops", async () => {
    const { model, batches, open } = gatedModel();
    const learner = new Learner(model, options);
    learner.accept(["1", "2", "3"].map(flight));
    learner.accept(["4"].map(flight));
    const stopped = learner.stop();
    expect(() => learner.accept([flight("5")])).toThrow(StoppedError);
    expect(learner.waiting).toBe(4);
    open();
    await stopped;
    expect(batches).toEqual([["1", "2"], ["3"], ["4"]]);
    expect([learner.waiting, learner.steps, learner.scores.count]).toEqual([0, 3, 4]);
  });

  it("counts a step that fails and goes on", async () => {
    const { model, open } = gatedModel();
    const learner = new Learner(model, options);
    const warned = new Promise((resolve) => process.once("warning", resolve));
    learner.accept([flight("bad")]);
    learner.accept([flight("good")]);
    open();
    await learner.stop();
    expect([learner.failedSteps, learner.steps, learner.scores.count, learner.waiting]).toEqual([1, 1, 1, 0]);
    expect(await warned).toMatchObject({ message: "a bad step" });
  });

  it("must hold the largest request", () => {
    expect(() => new Learner(gatedModel().model, { ...options, maxQueue: 1023 })).toThrow(RangeError);
  });
});
