import { setTimeout as sleep } from "node:timers/promises";
import { summarize } from "./statistics.mjs";

/** OpenMP threads of a peer spin for 200 ms before they sleep, and would slow the next contestant down. */
const SETTLE_AFTER_PEER_MS = 300;
/** Our own threads sleep within 2 ms. */
const SETTLE_MS = 10;

/**
 * @typedef {object} Contestant
 * @property {string} who
 * @property {number} threads 0 means inline
 * @property {"sync" | "async"} mode
 * @property {string} [key] for the verdicts
 * @property {(seconds: number) => Promise<{ samples: number[], version?: string } | { error: string }>} round
 *
 * @typedef {{ who: string, threads: number, mode: string, key?: string, version?: string, error?: string }
 *   & Partial<import("./statistics.mjs").Summary>} Result times in ns a step
 */

/**
 * Runs the contestants in turn, several times over (A B A B …), so that a change of the machine's mood hits
 * all of them, and gives each the median of all its samples.
 * @param {readonly Contestant[]} contestants
 * @param {{ rounds: number, seconds: number }} budget `seconds`: of one contestant in one round
 * @returns {Promise<Result[]>}
 */
export async function contest(contestants, { rounds, seconds }) {
  /** @type {{ samples: number[], error?: string, version?: string }[]} */
  const records = contestants.map(() => ({ samples: [] }));
  let settle = SETTLE_AFTER_PEER_MS;
  for (let round = 0; round < rounds; round++) {
    for (const [i, contestant] of contestants.entries()) {
      const record = records[i];
      if (record.error) continue;
      await sleep(settle);
      const answer = await contestant.round(seconds);
      settle = contestant.who.startsWith("Shardgrad") ? SETTLE_MS : SETTLE_AFTER_PEER_MS;
      if ("error" in answer) record.error = answer.error;
      else {
        record.samples.push(...answer.samples);
        record.version = answer.version;
      }
    }
  }
  return contestants.map(({ who, threads, mode, key }, i) => {
    const { samples, error, version } = records[i];
    const head = { who, threads, mode, ...(key ? { key } : {}), ...(version ? { version } : {}) };
    return error ? { ...head, error } : { ...head, ...summarize(samples) };
  });
}
