/** Contestants whose tables may not all fit into the memory at the same time. */
import { contest } from "./contest.mjs";
import { freeBytes } from "./machine.mjs";

/** @typedef {import("./contest.mjs").Contestant} Contestant */
/** @typedef {import("./contest.mjs").Result} Result */
/** @typedef {import("./lists.mjs").Lists} Lists */

/**
 * Somebody who steps over a table: `open` takes the memory and says whom to measure on lists, `close` gives it back.
 * @typedef {object} Player
 * @property {number} bytes
 * @property {() => Promise<(lists: Lists) => Contestant[]>} open
 * @property {() => Promise<void>} close
 */

/** Gradients of two batch sizes, the lists, and what a process takes. */
const BESIDE = 2 ** 30;

/**
 * @param {{ rows: number, dim: number, tables: number, vectors?: number }} of arrays of rows × dim and of rows, float32
 */
export const tableBytes = ({ rows, dim, tables, vectors = 0 }) =>
  rows * 4 * (dim * tables + vectors) + BESIDE;

/** @param {readonly Player[]} players */
export const canPlay = (players) => Math.max(...players.map(({ bytes }) => bytes)) < freeBytes();

/**
 * Measures all players on all lists, in turn where the memory holds them all (`together`). Otherwise one after the
 * other, which a change of the machine's mood may disturb.
 * @param {readonly Player[]} players
 * @param {readonly Lists[]} lists
 * @param {{ rounds: number, seconds: number }} budget
 * @returns {Promise<{ results: Result[][], together: boolean }>} results for each of the lists
 */
export async function play(players, lists, budget) {
  const together = players.reduce((sum, { bytes }) => sum + bytes, 0) < freeBytes();
  /** @type {Result[][]} */
  const results = lists.map(() => []);
  for (const group of together ? [players] : players.map((player) => [player])) {
    const opened = [];
    for (const player of group) opened.push(await player.open());
    for (const [i, list] of lists.entries()) {
      const contestants = opened.flatMap((contestantsOn) => contestantsOn(list));
      if (contestants.length > 0) results[i].push(...(await contest(contestants, budget)));
    }
    for (const player of group) await player.close();
  }
  return { results, together };
}
