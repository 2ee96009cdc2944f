/** Random rows copied and changed in place by a small C program: what the memory of this machine gives. */
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../yardstick/rows.c", import.meta.url));

/**
 * Bytes read + written a second: `copy` from a row of one table to the same row of another, `change` of a row in
 * place, `changeBoth` of the same row of two tables.
 * @typedef {{ copy: number, change: number, changeBoth: number }} RowRates
 */

/** @type {string | undefined} */
let folder;

/** Compiles the program once; undefined where there is no C compiler. */
function program() {
  if (folder === undefined) {
    folder = mkdtempSync(join(tmpdir(), "shardgrad-yardstick-"));
    const args = ["-std=gnu11", "-O3", "-march=native", "-pthread", source, "-o", join(folder, "rows")];
    if (spawnSync(process.env.CC ?? "cc", args).status !== 0) removeYardstick();
  }
  return folder && join(folder, "rows");
}

/**
 * @param {{ rows: number, dim: number, slices: number, lists: number, indexFile: string }} table
 * @param {number} threads
 * @param {number} seconds of each of the three rates
 * @returns {RowRates | undefined} undefined where the program cannot be compiled or run
 */
export function rowRates({ rows, dim, slices, lists, indexFile }, threads, seconds) {
  const path = program();
  if (!path) return undefined;
  const input = openSync(indexFile, "r");
  const { status, stdout } = spawnSync(path, [rows, dim, slices, lists, threads, seconds].map(String), {
    stdio: [input, "pipe", "inherit"],
    encoding: "utf8",
  });
  closeSync(input);
  return status === 0 ? JSON.parse(stdout) : undefined;
}

/** Deletes the program. */
export function removeYardstick() {
  if (folder) rmSync(folder, { recursive: true, force: true });
  folder = "";
}
