import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** @type {string | undefined} */
let folder;

/**
 * Writes row indices (little-endian int32) where the peers read the very same list.
 * @param {string} name
 * @param {Int32Array} indices
 * @returns {string} the file's path
 */
export function shareIndices(name, indices) {
  folder ??= mkdtempSync(join(tmpdir(), "shardgrad-bench-"));
  const path = join(folder, `${name}.i32`);
  writeFileSync(path, new Uint8Array(indices.buffer, indices.byteOffset, indices.byteLength));
  return path;
}

/** Deletes what shareIndices wrote. */
export function removeIndices() {
  if (folder) rmSync(folder, { recursive: true, force: true });
  folder = undefined;
}
