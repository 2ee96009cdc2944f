import { parseArgs } from "node:util";

/** The cases in the order in which they run. */
export const CASES = ["dense", "ema", "clip", "many", "sparse", "latency", "upload", "step", "hybrid"];

const USAGE = `node bench/gpu/main.mjs [options]
  --only LIST      cases, comma-separated: ${CASES.join(", ")}
  --quick          fewer sizes, fewer samples
  --largest POWER  the largest dense size is 2^POWER (default 28)
  --rows COUNT     rows of the sparse table (default 10,000,000)
  --slices COUNT   slices of a sparse step (default 65,536)
  --device N       number of the device, in the driver's order
  --library PATH   the driver's library
  --no-peers       Shardgrad alone
  --python PATH    an interpreter that has PyTorch with CUDA; may be given several times
  --json FILE      writes every figure there, too
  --help`;

/**
 * @typedef {object} Options
 * @property {Set<string>} only
 * @property {boolean} quick
 * @property {number} largest
 * @property {number} rows
 * @property {number} slices
 * @property {number | undefined} device
 * @property {string | undefined} library
 * @property {boolean} peers
 * @property {string[]} pythons
 * @property {string | undefined} json
 * @property {number} samples
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
      largest: { type: "string", default: "28" },
      rows: { type: "string", default: "10000000" },
      slices: { type: "string", default: "65536" },
      device: { type: "string" },
      library: { type: "string" },
      "no-peers": { type: "boolean", default: false },
      python: { type: "string", multiple: true, default: [] },
      json: { type: "string" },
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
  const [rows, slices] = [whole("rows", values.rows), whole("slices", values.slices)];
  if (slices > rows) throw new Error("--slices: more than --rows, which unique slices need");
  return {
    only: new Set(only),
    quick: values.quick,
    largest: whole("largest", values.largest),
    rows,
    slices,
    device: values.device === undefined ? undefined : whole("device", values.device),
    library: values.library,
    peers: !values["no-peers"],
    pythons: values.python,
    json: values.json,
    samples: values.quick ? 5 : 30,
  };
}

/**
 * @param {string} name
 * @param {string} text
 */
function whole(name, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0)
    throw new Error(`--${name}: expected a whole number, got ${text}`);
  return value;
}
