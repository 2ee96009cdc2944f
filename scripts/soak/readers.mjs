/**
 * Where threads that read the tables during training join: started beside the trained world only, never beside the
 * replay, so that a reader that changed anything would show in the checksum.
 *
 * @typedef {{ problems: () => string[], stop: () => Promise<void> }} Readers
 * @param {import("./world.mjs").World} _world @param {number} threads
 * @returns {Promise<Readers>}
 */
export async function startReaders(_world, threads) {
  if (threads > 0) throw new Error("--readers: this version has no readers on other threads.");
  return { problems: () => [], stop: async () => {} };
}
