/**
 * Plain float32 Adagrad for the result checks: every operation rounded, in the order of Keras 2.9.0.
 * A figure whose result is wrong is not printed.
 */
import { EMA_MOMENTUM, EPSILON, LEARNING_RATE } from "./hyper.mjs";

const { fround } = Math;
const RATE = fround(LEARNING_RATE);
const EPS = fround(EPSILON);

/**
 * A weight after its step.
 * @param {number} weight
 * @param {number} accumulator after the step
 * @param {number} gradient
 */
export function stepped(weight, accumulator, gradient) {
  const root = fround(Math.sqrt(fround(accumulator + EPS)));
  return fround(weight - fround(fround(RATE * gradient) / root));
}

/**
 * An accumulator with one more square.
 * @param {number} accumulator
 * @param {number} gradient
 */
export const withSquare = (accumulator, gradient) => fround(accumulator + fround(gradient * gradient));

/**
 * @param {number} average
 * @param {number} weight the weight after the step
 */
export const ema = (average, weight) => EMA_MOMENTUM * average + (1 - EMA_MOMENTUM) * weight;

/**
 * Positions to check: both ends (tails, shard borders) and an even spread between.
 * @param {number} length
 * @param {number} [count]
 */
export function positions(length, count = 1000) {
  const picked = new Set();
  for (let i = 0; i < Math.min(length, 9); i++) picked.add(i).add(length - 1 - i);
  for (let i = 0; i < count; i++) picked.add(Math.floor((i * (length - 1)) / count));
  return [...picked];
}

/**
 * @param {string} what
 * @param {number} got
 * @param {number} expected
 * @param {number} tolerance relative; 0 asks for the same bits
 */
export function same(what, got, expected, tolerance) {
  const right =
    tolerance === 0
      ? Object.is(got, expected)
      : Math.abs(got - expected) <= tolerance * Math.max(Math.abs(expected), 1e-3);
  if (!right) throw new Error(`wrong result, no figure: ${what} is ${got}, the reference says ${expected}`);
}
