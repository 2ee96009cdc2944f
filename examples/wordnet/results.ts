/** What a run leaves behind: tables on the terminal, files in the output folder. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { lineChart } from "./chart.js";
import type { Graph } from "./graph.js";
import { nearest, wordsToShow } from "./neighbours.js";
import { saveNpy } from "./npy.js";
import type { Scores } from "./ranking.js";
import type { Trained } from "./trainer.js";
import type { WordNet } from "./wndb.js";

export interface Result {
  readonly trained: Trained;
  readonly scores: Scores;
  /** Scores of the held-out triples whose inverse is not in the training set: what cannot be looked up. */
  readonly withoutInverse: Scores;
}

function figures({ mrr, hits1, hits3, hits10 }: Scores): string[] {
  return [mrr, hits1, hits3, hits10].map((score) => score.toFixed(3));
}

export function scoreTable(results: readonly Result[], heldOut: number, inverseShare: number): string {
  const rows = [["", "MRR", "Hits@1", "Hits@3", "Hits@10"]];
  for (const { trained, scores } of results) rows.push([trained.model, ...figures(scores)]);
  for (const { trained, withoutInverse } of results) {
    rows.push([`${trained.model}, inverse unseen`, ...figures(withoutInverse)]);
  }
  rows.push(["paper, WN18: ComplEx", "0.941", "", "", "0.947"]);
  rows.push(["paper, WN18: DistMult", "0.822", "", "", "0.936"]);
  const first = Math.max(...rows.map((row) => row[0]!.length));
  const lines = rows.map((row) => row.map((cell, i) => (i ? cell.padStart(9) : cell.padEnd(first))).join(""));
  lines[0] += "\n".padEnd(first + 37, "-");
  return [
    `Filtered ranking of ${heldOut.toLocaleString("en")} held-out triples, heads and tails, among all synsets.`,
    `The training set has the inverse of ${(100 * inverseShare).toFixed(1)} % of them; "inverse unseen" ranks the others.`,
    "",
    ...lines,
  ].join("\n");
}

export function neighbourTable(trained: Trained, names: readonly string[]): string {
  const lines = [`Nearest neighbours in the ${trained.model} embeddings (cosine):`];
  for (const word of wordsToShow) {
    const entity = names.indexOf(word);
    if (entity < 0) continue;
    const near = nearest(trained.entities.data as Float32Array, trained.rowSize, entity, 5);
    const list = near.map((neighbour) => `${names[neighbour.entity]} ${neighbour.cosine.toFixed(2)}`);
    lines.push(`  ${word.padEnd(17)} ${list.join(", ")}`);
  }
  return lines.join("\n");
}

function lossChart(results: readonly Result[]): string {
  const series = results.map(({ trained }) => ({
    name: trained.model,
    points: trained.losses.map((loss, epoch) => [epoch + 1, loss] as const),
  }));
  return lineChart("WordNet embeddings: training loss", "epoch", "mean loss of an example", series);
}

/** Row i of the .npy tables is the entity or relation of line i + 1 (after the heading) of the .tsv files. */
export async function saveResults(
  folder: string,
  results: readonly Result[],
  about: { graph: Graph; wordNet: WordNet; names: readonly string[]; run: Record<string, unknown> },
): Promise<string[]> {
  const { graph, wordNet, names } = about;
  await mkdir(folder, { recursive: true });
  const paths: string[] = [];
  const place = (name: string): string => {
    const path = join(folder, name);
    paths.push(path);
    return path;
  };
  await writeFile(place("loss.svg"), lossChart(results));
  for (const { trained } of results) {
    for (const table of [trained.entities, trained.relations]) {
      const path = place(`${trained.model.toLowerCase()}-${table.name}.npy`);
      await saveNpy(path, { shape: table.shape, data: table.data as Float32Array });
    }
  }
  const entityLines = graph.entities.map((id, row) => {
    const synset = wordNet.synsets.get(id)!;
    return [row, names[row], id, synset.words.join(", "), synset.gloss.replaceAll("\t", " ")].join("\t");
  });
  const entityHeading = "row\tname\tsynset\twords\tgloss";
  await writeFile(place("entities.tsv"), `${[entityHeading, ...entityLines].join("\n")}\n`);
  const relationLines = graph.relations.map((name, row) => `${row}\t${name}`);
  await writeFile(place("relations.tsv"), `${["row\tname", ...relationLines].join("\n")}\n`);
  const models = results.map(({ trained, scores, withoutInverse }) => ({
    model: trained.model,
    scores,
    withoutInverse,
    epochs: trained.epochs,
    bestEpoch: trained.bestEpoch,
    validations: trained.validations,
    seconds: trained.seconds,
    optimizerSeconds: trained.optimizerSeconds,
    losses: trained.losses,
  }));
  await writeFile(place("scores.json"), `${JSON.stringify({ ...about.run, models }, undefined, 2)}\n`);
  return paths;
}
