/**
 * What every case gets.
 * @typedef {object} Context
 * @property {import("../lib/options.mjs").Options} options
 * @property {import("../lib/report.mjs").Report} report
 * @property {import("../lib/peers.mjs").PeerGroup} peers
 */

/** @typedef {import("../lib/contest.mjs").Contestant} Contestant */

/**
 * Contestants of one peer: one for each number of threads.
 * @param {Context} context
 * @param {import("../lib/peers.mjs").PeerName} name
 * @param {string} who
 * @param {object} request
 * @param {{ threads?: readonly number[], keepMemory?: boolean }} [how]
 * @returns {Contestant[]}
 */
export function theirs({ peers }, name, who, request, { threads = [1, 2], keepMemory = false } = {}) {
  if (!peers.has(name)) return [];
  return threads.map((count) => ({
    who: keepMemory ? `${who}, memory kept` : who,
    threads: count,
    mode: /** @type {const} */ ("sync"),
    round: (seconds) => peers.ask(name, count, { ...request, seconds }, keepMemory),
  }));
}
