/** Reading WordNet, building the graph, splitting it. */
import { beforeAll, describe, expect, it } from "vitest";
import {
  buildGraph,
  type Graph,
  inverseRelation,
  inverseSeen,
  type Split,
  splitTriples,
  tripleKey,
} from "../../examples/dist/wordnet/graph.js";
import {
  loadWordNet,
  parseIndexLine,
  parseSynset,
  senseName,
  type WordNet,
} from "../../examples/dist/wordnet/wndb.js";

describe("parsing", () => {
  it("reads words, pointers and gloss of a synset", () => {
    const synset = parseSynset(
      "00002137 03 n 02 abstraction 0 abstract_entity 0 002 @ 00001740 n 0000 + 00694095 v 0101 | a general concept  ",
    );
    expect(synset).toEqual({
      id: "n00002137",
      partOfSpeech: "n",
      words: ["abstraction", "abstract entity"],
      pointers: [
        { symbol: "@", target: "n00001740" },
        { symbol: "+", target: "v00694095" },
      ],
      gloss: "a general concept",
    });
  });

  it("counts words in hexadecimal, and takes satellites and markers of adjectives away", () => {
    const words = Array.from({ length: 16 }, (_, i) => `word_${i}(ip) 0`).join(" ");
    const synset = parseSynset(`00000100 00 s 10 ${words} 001 & 00000200 s 0000 | gloss`);
    expect(synset.id).toBe("a00000100");
    expect(synset.words).toHaveLength(16);
    expect(synset.words[15]).toBe("word 15");
    expect(synset.pointers).toEqual([{ symbol: "&", target: "a00000200" }]);
  });

  it("passes over verb frames", () => {
    const synset = parseSynset(
      "00001740 29 v 01 breathe 0 001 $ 00005041 v 0000 02 + 02 00 + 08 00 | draw air",
    );
    expect(synset.pointers).toEqual([{ symbol: "$", target: "v00005041" }]);
  });

  it("reads the senses of a word in their order", () => {
    expect(parseIndexLine("abstract_entity n 1 2 @ ~ 2 0 00002137 00009999  ")).toEqual({
      word: "abstract entity",
      offsets: ["00002137", "00009999"],
    });
  });
});

describe("the real database", () => {
  let wordNet: WordNet;
  let graph: Graph;
  let split: Split;

  beforeAll(async () => {
    wordNet = await loadWordNet();
    graph = buildGraph(wordNet);
    split = splitTriples(graph, { validation: 5000, test: 5000, seed: 1 });
  });

  it("has known synsets", () => {
    expect(wordNet.synsets.size).toBe(117791);
    const dog = wordNet.synsets.get(wordNet.senses("dog", "n")[0]!)!;
    expect(dog.words).toEqual(["dog", "domestic dog", "Canis familiaris"]);
    expect(senseName(wordNet, dog)).toBe("dog.n.01");
    const parents = dog.pointers.filter(({ symbol }) => symbol === "@").map(({ target }) => target);
    expect(parents.map((id) => wordNet.synsets.get(id)!.words[0])).toContain("canine");
  });

  it("makes a graph of the size of WN18", () => {
    expect(graph.relations).toHaveLength(18);
    expect(graph.entities).toHaveLength(37932);
    expect(graph.triples.length / 3).toBe(149453);
    const unique = new Set(keys(graph.triples));
    expect(unique.size).toBe(149453);
  });

  it("has both directions of every link but a few", () => {
    const known = new Set(keys(graph.triples));
    let both = 0;
    for (let i = 0; i < graph.triples.length; i += 3) {
      const [head, relation, tail] = graph.triples.subarray(i, i + 3);
      if (known.has(tripleKey(tail!, inverseRelation(relation!), head!))) both++;
    }
    expect(both / known.size).toBeGreaterThan(0.98);
  });

  it("splits without leakage and leaves no entity or relation without training triples", () => {
    expect([split.train, split.validation, split.test].map((set) => set.length / 3)).toEqual([
      139453, 5000, 5000,
    ]);
    const all = [...keys(split.train), ...keys(split.validation), ...keys(split.test)];
    expect(new Set(all).size).toBe(all.length);
    expect(new Set(all)).toEqual(new Set(keys(graph.triples)));
    const trainedEntities = new Set<number>();
    const trainedRelations = new Set<number>();
    split.train.forEach((value, i) => {
      (i % 3 === 1 ? trainedRelations : trainedEntities).add(value);
    });
    expect(trainedEntities.size).toBe(graph.entities.length);
    expect(trainedRelations.size).toBe(18);
  });

  it("splits the same way for the same seed only", () => {
    const again = splitTriples(graph, { validation: 5000, test: 5000, seed: 1 });
    expect(again.test).toEqual(split.test);
    const other = splitTriples(graph, { validation: 5000, test: 5000, seed: 2 });
    expect(other.test).not.toEqual(split.test);
  });

  it("tells which held-out triples have their inverse in the training set", () => {
    const seen = inverseSeen(split.test, split.train);
    const share = seen.filter(Boolean).length / seen.length;
    expect(share).toBeGreaterThan(0.9);
    expect(share).toBeLessThan(0.96);
  });
});

it("refuses to hold out more than can be spared", () => {
  const graph: Graph = { entities: ["a", "b"], relations: ["r"], triples: Int32Array.of(0, 0, 1, 1, 0, 0) };
  const split = splitTriples(graph, { validation: 0, test: 1, seed: 1 });
  expect(split.train).toHaveLength(3);
  expect(() => splitTriples(graph, { validation: 1, test: 1, seed: 1 })).toThrow("only 1 of 2");
});

function keys(triples: Int32Array): number[] {
  return Array.from({ length: triples.length / 3 }, (_, i) =>
    tripleKey(triples[3 * i]!, triples[3 * i + 1]!, triples[3 * i + 2]!),
  );
}
