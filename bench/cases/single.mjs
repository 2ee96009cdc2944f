/** One step of 64 elements: what a call costs. */
import { denseTraffic } from "../lib/bytes.mjs";
import { contest } from "../lib/contest.mjs";
import { denseFixture, ours, runtimeOf } from "../lib/shardgrad.mjs";
import { theirs } from "./context.mjs";

const ELEMENTS = 64;

/** @param {import("./context.mjs").Context} context */
export async function single(context) {
  // With threads, too: such a step runs on the calling thread all the same.
  const fixtures = [];
  const contestants = [];
  for (const threads of [0, 2]) {
    const fixture = denseFixture({ runtime: await runtimeOf(threads), elements: ELEMENTS });
    fixtures.push(fixture);
    contestants.push(ours(fixture, { threads, mode: "sync" }), ours(fixture, { threads, mode: "async" }));
  }
  const request = (/** @type {string} */ variant) => ({ case: "dense", variant, elements: ELEMENTS });
  contestants.push(
    ...theirs(context, "pytorch", "PyTorch fused", request("fused")),
    ...theirs(context, "keras", "Keras function", request("function"), { threads: [2] }),
    ...theirs(context, "tfjs", "tfjs cpu", request("cpu"), { threads: [1] }),
    ...theirs(context, "tfjs", "tfjs wasm", request("wasm"), { threads: [1] }),
  );
  const results = await contest(contestants, context.options);
  for (const fixture of fixtures) fixture.close();
  await context.peers.drop();
  const traffic = denseTraffic(ELEMENTS);
  context.report.add({
    id: "single-64",
    title: "One small step",
    unit: "element",
    units: ELEMENTS,
    traffic,
    results,
  });
}
