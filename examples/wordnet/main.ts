/**
 * Knowledge-graph embeddings of WordNet: ComplEx and DistMult, trained with Shardgrad's sparse Adagrad, judged on
 * held-out links. See ../README.md.
 */
import { Runtime } from "@shardgrad/core";
import { buildGraph, entityNames, type Graph, inverseSeen, type Split, splitTriples } from "./graph.js";
import type { ModelName } from "./models.js";
import { ProgressBar } from "./progressBar.js";
import { knownAnswers, summarise } from "./ranking.js";
import { neighbourTable, type Result, saveResults, scoreTable } from "./results.js";
import { type CommandLine, readCommandLine, type Training, usage } from "./settings.js";
import { Team } from "./team.js";
import { trainModel } from "./trainer.js";
import { loadWordNet } from "./wndb.js";

function print(text = ""): void {
  process.stdout.write(`${text}\n`);
}

/** A shared copy of the first triples, so that the workers read them in place. */
function sample(triples: Int32Array, count: number): Int32Array {
  const length = Math.min(triples.length, 3 * count);
  const copy = new Int32Array(new SharedArrayBuffer(4 * length));
  copy.set(triples.subarray(0, length));
  return copy;
}

/** Ranks sampled triples by the team, with all three sets as the filter. */
function makeRanker(team: Team, split: Split, triples: Int32Array) {
  const answers = knownAnswers(triples, [split.train, split.validation, split.test]);
  const ranks = new Float64Array(new SharedArrayBuffer((16 * triples.length) / 3));
  return async (model: ModelName, rowSize: number, entities: Float32Array, relations: Float32Array) => {
    await team.run({
      kind: "rank",
      job: { model, rowSize, entities, relations, triples, ...answers, ranks },
    });
    return ranks.slice();
  };
}

interface Bench {
  readonly runtime: Runtime;
  readonly team: Team;
  readonly graph: Graph;
  readonly split: Split;
}

async function trainAndRank(
  { runtime, team, graph, split }: Bench,
  model: ModelName,
  training: Training,
  { setting, seed }: CommandLine,
): Promise<Result> {
  const { rowSize } = training;
  const rankValidation = makeRanker(team, split, sample(split.validation, setting.validationTriples));
  const test = sample(split.test, setting.testTriples);
  const bar = new ProgressBar(model, training.maxEpochs * training.batches);
  const trained = await trainModel({
    model,
    training,
    train: split.train,
    entityCount: graph.entities.length,
    relationCount: graph.relations.length,
    seed,
    runtime,
    team,
    onProgress: (progress) => bar.update(progress),
    validate: async (entities, relations) =>
      summarise(await rankValidation(model, rowSize, entities, relations)).mrr,
  }).finally(() => bar.stop());
  const ranks = await makeRanker(team, split, test)(
    model,
    rowSize,
    trained.entities.data as Float32Array,
    trained.relations.data as Float32Array,
  );
  const seen = inverseSeen(test, split.train);
  return {
    trained,
    scores: summarise(ranks),
    withoutInverse: summarise(ranks.filter((_, query) => !seen[query >> 1])),
  };
}

async function run(commandLine: CommandLine): Promise<void> {
  const { setting, threads, seed, output } = commandLine;
  const started = performance.now();
  const wordNet = await loadWordNet();
  const graph = buildGraph(wordNet);
  const split = splitTriples(graph, { validation: 5000, test: 5000, seed });
  const names = entityNames(wordNet, graph);
  const count = (triples: Int32Array): string => (triples.length / 3).toLocaleString("en");
  print(`WordNet 3.1: ${wordNet.synsets.size.toLocaleString("en")} synsets, read in ${elapsed(started)}`);
  print(
    `Graph: ${graph.entities.length.toLocaleString("en")} synsets, ${graph.relations.length} relations; ` +
      `${count(split.train)} triples to train, ${count(split.validation)} to validate, ${count(split.test)} to test`,
  );
  print(`Setting "${setting.name}", ${threads} threads, seed ${seed}\n`);

  await using runtime = new Runtime({ threads });
  await using team = new Team(threads);
  const bench: Bench = { runtime, team, graph, split };
  const results = [
    await trainAndRank(bench, "ComplEx", setting.complEx, commandLine),
    await trainAndRank(bench, "DistMult", setting.distMult, commandLine),
  ];
  for (const { trained } of results) {
    print(
      `${trained.model}: ${trained.epochs} epochs in ${trained.seconds.toFixed(1)} s, ` +
        `${trained.optimizerSeconds.toFixed(1)} s of it in the optimizer` +
        (trained.validations.length > 0 ? `; kept epoch ${trained.bestEpoch}, the best by validation` : ""),
    );
  }
  const test = sample(split.test, setting.testTriples);
  const seen = inverseSeen(test, split.train);
  print(`\n${scoreTable(results, seen.length, seen.filter(Boolean).length / seen.length)}\n`);
  print(`${neighbourTable(results[0]!.trained, names)}\n`);
  const paths = await saveResults(output, results, {
    graph,
    wordNet,
    names,
    run: { setting, threads, seed, node: process.version, seconds: (performance.now() - started) / 1000 },
  });
  print("Written:");
  for (const path of paths) print(`  ${path}`);
  print(`\nAll in ${elapsed(started)}`);
}

function elapsed(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}

try {
  const commandLine = readCommandLine(process.argv.slice(2));
  if (commandLine) await run(commandLine);
  else print(usage);
} catch (error) {
  if (!(error instanceof Error)) throw error;
  // A wrong option needs its usage, anything else its stack.
  const isUsage = "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
  process.stderr.write(`${isUsage ? `${error.message}\n\n${usage}` : error.stack}\n`);
  process.exitCode = 1;
}
