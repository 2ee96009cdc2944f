import { parseArgs } from "node:util";

/** The cases in the order in which they run. */
export const CASES = ["single", "dense", "ema", "clip", "many", "sparse", "tables", "tableema", "eventloop"];

const USAGE = `node bench/main.mjs [options]
  --only LIST     cases, comma-separated: ${CASES.join(", ")}
  --quick         fewer sizes, shorter samples (about 2 minutes)
  --json FILE     writes every figure there, too
  --no-peers      Shardgrad alone
  --kernels KIND  Shardgrad's kernels: auto (default), wasm or native
  --python PATH   an interpreter that has PyTorch or TensorFlow; may be given several times
  --help`;

/**
 * @typedef {object} Options
 * @property {Set<string>} only
 * @property {boolean} quick
 * @property {string | undefined} json
 * @property {boolean} peers
 * @property {"auto" | "wasm" | "native"} kernels
 * @property {string[]} pythons
 * @property {number} rounds
 * @property {number} seconds of one contestant in one round
 */

/**
 * @param {string[]} args
 * @returns {Options}
 */
export function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: "string" },
      quick: { type: "boolean", default: false },
      json: { type: "string" },
      "no-peers": { type: "boolean", default: false },
      kernels: { type: "string", default: "auto" },
      python: { type: "string", multiple: true, default: [] },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const only = values.only?.split(",").map((name) => name.trim()) ?? CASES;
  const unknown = only.find((name) => !CASES.includes(name));
  if (unknown !== undefined) throw new Error(`No case "${unknown}".\n${USAGE}`);
  const quick = values.quick;
  return {
    only: new Set(only),
    quick,
    json: values.json,
    peers: !values["no-peers"],
    kernels: /** @type {Options["kernels"]} */ (values.kernels),
    pythons: values.python,
    rounds: quick ? 1 : 3,
    seconds: quick ? 0.1 : 0.2,
  };
}
