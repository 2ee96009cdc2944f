/**
 * Row lists that change from step to step. With one list over and over the rows it names, a few MiB, stay in the
 * caches, and a table of any size looks fast; training names other rows each time.
 */
import { ZIPF_EXPONENT } from "./hyper.mjs";
import { shareIndices } from "./indices.mjs";
import { generator, zipfSampler } from "./random.mjs";

/** Lists that are taken in turn. */
export const LISTS = 64;
/** The gradients of the steps lie in as many blocks as this holds, at most one for each list. */
const GRADIENT_BYTES = 256 * 2 ** 20;

/**
 * @typedef {object} Lists
 * @property {number} rows
 * @property {number} dim
 * @property {number} slices of one list
 * @property {"unique" | "zipf"} kind
 * @property {Int32Array[]} indices one array for each list
 * @property {number} distinct different rows of one list, the mean over all lists
 * @property {number} blocks of gradients; list i goes with block i % blocks
 * @property {string} indexFile all lists, one after the other
 */

/**
 * @param {{ rows: number, dim: number, slices: number, kind: "unique" | "zipf" }} wanted
 * @returns {Lists}
 */
export function changingLists({ rows, dim, slices, kind }) {
  const all = new Int32Array(LISTS * slices);
  const random = generator(7);
  const draw = kind === "zipf" ? zipfSampler(rows, ZIPF_EXPONENT, random) : () => Math.floor(random() * rows);
  /** The list, counted from 1, in which a row was seen last. */
  const seen = new Uint8Array(rows);
  let distinct = 0;
  for (let at = 0; at < all.length; ) {
    const row = draw();
    const list = Math.floor(at / slices) + 1;
    const again = seen[row] === list;
    if (again && kind === "unique") continue;
    if (!again) distinct++;
    seen[row] = list;
    all[at++] = row;
  }
  const indices = Array.from({ length: LISTS }, (_, i) => all.subarray(i * slices, (i + 1) * slices));
  return {
    ...{ rows, dim, slices, kind, indices },
    distinct: distinct / LISTS,
    blocks: Math.min(LISTS, Math.max(4, Math.ceil(GRADIENT_BYTES / (slices * dim * 4)))),
    indexFile: shareIndices(`table-${rows}-${dim}-${slices}-${kind}`, all),
  };
}

/**
 * What a peer needs to know of them.
 * @param {Lists} lists
 */
export const listsRequest = ({ rows, dim, slices, blocks, indexFile }) => ({
  ...{ rows, dim, slices, blocks, indexFile },
  lists: LISTS,
  elements: slices * dim,
});
