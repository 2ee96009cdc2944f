/**
 * WordNet as a knowledge graph: triples (head synset, relation, tail synset), cut down to a graph like WN18.
 *
 * WN18 (Bordes et al. 2013) was drawn from WordNet 3.0: 40,943 synsets, 18 relations, 151,442 triples, 5,000 of
 * them for validation and 5,000 for testing. Its exact filter was never published with it. Ours, on WordNet 3.1:
 * keep the same 18 relations, count the triples of each synset in the whole graph, drop the synsets that have
 * fewer than five, once. That leaves 37,932 synsets and 149,453 triples, with relation counts close to WN18's
 * (the exception is similar_to: WN18 has 86, ours about 3,300, because we keep satellite adjectives).
 * As in WN18 both directions of a link are kept as triples of their own (hypernym and hyponym, for example), so
 * most held-out triples have their inverse in the training set: the benchmark is easy for a model that can
 * learn inverses, and its figures must be read so.
 */
import { Random } from "./random.js";
import { senseName, type WordNet } from "./wndb.js";

/** WN18's 18 relations and the pointer symbols of wndb(5WN), read as (synset with the pointer, relation, target). */
export const relationSymbols: readonly (readonly [relation: string, symbol: string])[] = [
  ["hypernym", "@"],
  ["hyponym", "~"],
  ["instance_hypernym", "@i"],
  ["instance_hyponym", "~i"],
  ["member_holonym", "#m"],
  ["member_meronym", "%m"],
  ["part_of", "#p"],
  ["has_part", "%p"],
  ["synset_domain_topic_of", ";c"],
  ["member_of_domain_topic", "-c"],
  ["synset_domain_region_of", ";r"],
  ["member_of_domain_region", "-r"],
  ["synset_domain_usage_of", ";u"],
  ["member_of_domain_usage", "-u"],
  ["derivationally_related_form", "+"],
  ["also_see", "^"],
  ["verb_group", "$"],
  ["similar_to", "&"],
];

/** Relations above come in inverse pairs up to this one; from here on each is its own inverse. */
const firstSymmetric = 14;

export function inverseRelation(relation: number): number {
  return relation >= firstSymmetric ? relation : relation ^ 1;
}

/** Triples are flat: head, relation and tail of triple i lie at 3i, 3i + 1 and 3i + 2. */
export interface Graph {
  /** Synset ids by entity number. */
  readonly entities: readonly string[];
  readonly relations: readonly string[];
  readonly triples: Int32Array;
}

export interface Split {
  readonly train: Int32Array;
  readonly validation: Int32Array;
  readonly test: Int32Array;
}

/** One number for a triple, exact in a double: below 2^17 * 2^5 * 2^17. */
export function tripleKey(head: number, relation: number, tail: number): number {
  return (head * 32 + relation) * 131072 + tail;
}

/** The triples in a fixed order, each once, without loops of a synset to itself. */
export function buildGraph(wordNet: WordNet, minimumTriples = 5): Graph {
  const relationOf = new Map(relationSymbols.map(([, symbol], relation) => [symbol, relation]));
  const ids = [...wordNet.synsets.keys()].sort();
  const numberOf = new Map(ids.map((id, number) => [id, number]));
  const seen = new Set<number>();
  const all: number[] = [];
  const degree = new Int32Array(ids.length);
  for (let head = 0; head < ids.length; head++) {
    // Lexical pointers (between two words) become pointers between their synsets, as in WN18.
    for (const { symbol, target } of wordNet.synsets.get(ids[head]!)!.pointers) {
      const relation = relationOf.get(symbol);
      const tail = numberOf.get(target);
      if (relation === undefined || tail === undefined || tail === head) continue;
      const key = tripleKey(head, relation, tail);
      if (seen.has(key)) continue;
      seen.add(key);
      all.push(head, relation, tail);
      degree[head]!++;
      degree[tail]!++;
    }
  }
  return compact(ids, all, (entity) => degree[entity]! >= minimumTriples);
}

/** Keeps the triples whose two ends are kept, and numbers the entities that still occur. */
function compact(
  ids: readonly string[],
  triples: readonly number[],
  keep: (entity: number) => boolean,
): Graph {
  const kept: number[] = [];
  const used = new Uint8Array(ids.length);
  for (let i = 0; i < triples.length; i += 3) {
    const head = triples[i]!;
    const tail = triples[i + 2]!;
    if (!keep(head) || !keep(tail)) continue;
    kept.push(head, triples[i + 1]!, tail);
    used[head] = used[tail] = 1;
  }
  const entities: string[] = [];
  const renumbered = new Int32Array(ids.length);
  for (let entity = 0; entity < ids.length; entity++) {
    if (used[entity]) renumbered[entity] = entities.push(ids[entity]!) - 1;
  }
  const flat = Int32Array.from(kept, (value, i) => (i % 3 === 1 ? value : renumbered[value]!));
  return { entities, relations: relationSymbols.map(([relation]) => relation), triples: flat };
}

/**
 * Draws the held-out triples at random, but never the last training triple of an entity or a relation: what the
 * model never saw it cannot rank. No triple is in two sets.
 */
export function splitTriples(
  graph: Graph,
  options: { validation: number; test: number; seed: number },
): Split {
  const { triples } = graph;
  const count = triples.length / 3;
  const uses = new Int32Array(graph.entities.length);
  const relationUses = new Int32Array(graph.relations.length);
  for (let i = 0; i < triples.length; i += 3) {
    uses[triples[i]!]!++;
    relationUses[triples[i + 1]!]!++;
    uses[triples[i + 2]!]!++;
  }
  const order = Int32Array.from({ length: count }, (_, i) => i);
  new Random(options.seed, 0x5911).shuffle(order);
  const train: number[] = [];
  const heldOut: number[] = [];
  const wanted = options.validation + options.test;
  for (const triple of order) {
    const head = triples[3 * triple]!;
    const relation = triples[3 * triple + 1]!;
    const tail = triples[3 * triple + 2]!;
    const spare = uses[head]! > 1 && uses[tail]! > 1 && relationUses[relation]! > 1;
    if (heldOut.length < wanted && spare) {
      heldOut.push(triple);
      uses[head]!--;
      uses[tail]!--;
      relationUses[relation]!--;
    } else {
      train.push(triple);
    }
  }
  if (heldOut.length < wanted) throw new Error(`only ${heldOut.length} of ${wanted} triples can be held out`);
  const take = (list: readonly number[]): Int32Array => {
    // Shared, so that worker threads read the same copy.
    const flat = new Int32Array(new SharedArrayBuffer(12 * list.length));
    list.forEach((triple, i) => {
      flat.set(triples.subarray(3 * triple, 3 * triple + 3), 3 * i);
    });
    return flat;
  };
  return {
    train: take(train),
    validation: take(heldOut.slice(0, options.validation)),
    test: take(heldOut.slice(options.validation)),
  };
}

/** For each triple, whether the training set has its inverse (the same link told from the other end). */
export function inverseSeen(triples: Int32Array, train: Int32Array): boolean[] {
  const known = new Set<number>();
  for (let i = 0; i < train.length; i += 3) known.add(tripleKey(train[i]!, train[i + 1]!, train[i + 2]!));
  return Array.from({ length: triples.length / 3 }, (_, i) =>
    known.has(tripleKey(triples[3 * i + 2]!, inverseRelation(triples[3 * i + 1]!), triples[3 * i]!)),
  );
}

export function entityNames(wordNet: WordNet, graph: Graph): string[] {
  return graph.entities.map((id) => senseName(wordNet, wordNet.synsets.get(id)!));
}
