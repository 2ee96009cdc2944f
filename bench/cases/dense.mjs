/** Dense steps: alone over all sizes, with EMA, with a global clip norm, and many small variables. */
import { denseTraffic } from "../lib/bytes.mjs";
import { contest } from "../lib/contest.mjs";
import { hasMemory } from "../lib/machine.mjs";
import { denseFixture, ours, runtimeOf } from "../lib/shardgrad.mjs";
import { theirs } from "./context.mjs";

/** @typedef {import("./context.mjs").Context} Context */
/** @typedef {import("./context.mjs").Contestant} Contestant */

const M4 = 2 ** 22;
const M33 = 2 ** 25;
/** Where the slower peers are measured as well. */
const PEER_SIZES = [2 ** 16, M4, M33];
const QUICK_PEER_SIZES = [M4];
/** Above this, the async inline step and the sync one differ by nothing that can be seen. */
const INLINE_ASYNC_BELOW = 2 ** 18;

/**
 * @typedef {object} Work
 * @property {"dense" | "ema" | "clip" | "many"} name
 * @property {number} elements of one variable
 * @property {number} [variables]
 */

/** @param {Context} context */
export async function dense(context) {
  const powers = context.options.quick ? [8, 16, 22, 25] : [8, 10, 12, 14, 16, 18, 20, 22, 24, 25];
  for (const power of powers) await measure(context, { name: "dense", elements: 2 ** power });
}

/** @param {Context} context */
export async function ema(context) {
  for (const elements of context.options.quick ? [M33] : [2 ** 16, M4, M33]) {
    await measure(context, { name: "ema", elements });
  }
}

/** @param {Context} context */
export async function clip(context) {
  for (const elements of context.options.quick ? [M4] : [2 ** 16, M4, M33]) {
    await measure(context, { name: "clip", elements });
  }
}

/** @param {Context} context */
export async function many(context) {
  await measure(context, { name: "many", elements: 1000, variables: 100 });
}

const TITLES = {
  dense: "Dense",
  ema: "Dense + EMA",
  clip: "Dense + global clip norm",
  many: "Many small variables, 100 of 1,000",
};

/**
 * @param {Context} context
 * @param {Work} work
 */
async function measure(context, { name, elements, variables = 1 }) {
  const units = elements * variables;
  // Four arrays in each of three runtimes, and about as much again in the peers.
  if (!hasMemory(units * 4 * 4 * 3 * 2)) {
    console.log(`\n${TITLES[name]}, ${units} elements: skipped, too little free memory`);
    return;
  }
  const extra = name === "ema" || name === "clip" ? name : "none";
  const fixtures = [];
  const contestants = [];
  for (const threads of [0, 1, 2]) {
    const runtime = await runtimeOf(threads);
    const fixture = denseFixture({ runtime, elements, variables, extra });
    fixtures.push(fixture);
    contestants.push(ours(fixture, { threads, mode: "sync" }));
    if (threads > 0 || units < INLINE_ASYNC_BELOW)
      contestants.push(ours(fixture, { threads, mode: "async" }));
    if (threads === 2 && name === "dense" && units >= 2 ** 16) {
      const copied = denseFixture({ runtime, elements, gradientsIn: "array" });
      fixtures.push(copied);
      contestants.push(ours(copied, { threads, mode: "async", note: "gradient in an array" }));
    }
  }
  contestants.push(...denseRivals(context, name, elements, variables));
  const results = await contest(contestants, context.options);
  for (const fixture of fixtures) fixture.close();
  await context.peers.drop();
  context.report.add({
    id: `${name}-${elements}`,
    title: TITLES[name],
    unit: "element",
    units,
    traffic: denseTraffic(units, { ema: name === "ema", norm: name === "clip" }),
    results,
  });
}

/**
 * @param {Context} context
 * @param {Work["name"]} name
 * @param {number} elements
 * @param {number} variables
 * @returns {Contestant[]}
 */
function denseRivals(context, name, elements, variables) {
  const { quick } = context.options;
  const request = (/** @type {string} */ variant) => ({ case: name, variant, elements, variables });
  const plus = { dense: "", many: "", ema: " + EMA", clip: " + clip" }[name];
  const rivals = theirs(context, "pytorch", `PyTorch fused${plus}`, request("fused"));
  if (name === "dense" && !(quick ? QUICK_PEER_SIZES : PEER_SIZES).includes(elements)) return rivals;
  if (quick && name !== "dense") return rivals;
  const all = { threads: quick ? [2] : [1, 2] };
  const two = { threads: [2] };
  rivals.push(...theirs(context, "pytorch", `PyTorch foreach${plus}`, request("foreach"), all));
  if (elements >= M4 && !quick) {
    const kept = { ...two, keepMemory: true };
    rivals.push(...theirs(context, "pytorch", `PyTorch foreach${plus}`, request("foreach"), kept));
  }
  if (!quick) rivals.push(...theirs(context, "keras", "Keras eager", request("eager"), two));
  rivals.push(...theirs(context, "keras", "Keras function", request("function"), all));
  if (name === "dense" || name === "many") {
    const one = { threads: [1] };
    if (!quick) rivals.push(...theirs(context, "keras", "TensorFlow kernel", request("kernel"), two));
    // Its CPU backend takes seconds a step at 33 M.
    if (elements <= M4 && !quick) rivals.push(...theirs(context, "tfjs", "tfjs cpu", request("cpu"), one));
    rivals.push(...theirs(context, "tfjs", "tfjs wasm", request("wasm"), one));
  }
  return rivals;
}
