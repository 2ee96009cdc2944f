/** Peers as child processes that answer JSON lines (protocol: ../peers/common.py). */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const folder = new URL("../peers/", import.meta.url);
const at = (/** @type {string} */ name) => fileURLToPath(new URL(name, folder));

/** A peer that does not answer for so long is given up. */
const TIMEOUT_MS = 180_000;

/**
 * glibc hands a large freed block back to the system at once, so that every temporary of a step faults its
 * pages in again, which is dear in a virtual machine. These settings keep the memory in the process; they are
 * measured beside the default, to give the peers their best as well.
 */
const KEEP_MEMORY = {
  MALLOC_MMAP_MAX_: "0",
  MALLOC_TRIM_THRESHOLD_: "100000000000",
  MALLOC_TOP_PAD_: "268435456",
};

/**
 * @typedef {"pytorch" | "keras" | "tfjs"} PeerName
 * @typedef {{ command: string, args: string[] }} Start
 * @typedef {{ peer: string, version: string, samples: number[], error?: undefined } | { error: string }} Answer
 */

/** @type {Record<PeerName, { title: string, module: string, script: string }>} */
export const PEERS = {
  pytorch: { title: "PyTorch", module: "torch", script: "pytorch.py" },
  keras: { title: "Keras on TensorFlow", module: "tensorflow", script: "keras_tensorflow.py" },
  tfjs: { title: "TensorFlow.js", module: "@tensorflow/tfjs", script: "tfjs.mjs" },
};

/** The interpreters to look in: --python, then SHARDGRAD_BENCH_PYTHON, then bench/peers/.venv. */
function interpreters(/** @type {readonly string[]} */ asked) {
  const fromEnvironment = (process.env.SHARDGRAD_BENCH_PYTHON ?? "").split(delimiter).filter(Boolean);
  const local = process.platform === "win32" ? at(".venv/Scripts/python.exe") : at(".venv/bin/python");
  return [...asked, ...fromEnvironment, ...(existsSync(local) ? [local] : [])];
}

/**
 * Which peers can be started here.
 * @param {readonly string[]} pythons
 * @returns {Map<PeerName, Start>}
 */
export function findPeers(pythons) {
  const found = new Map();
  for (const name of /** @type {const} */ (["pytorch", "keras"])) {
    const probe = `import importlib.util as u, sys; sys.exit(0 if u.find_spec(${JSON.stringify(PEERS[name].module)}) else 1)`;
    const python = interpreters(pythons).find((path) => spawnSync(path, ["-c", probe]).status === 0);
    if (python) found.set(name, { command: python, args: [at(PEERS[name].script)] });
  }
  if (existsSync(at("node_modules/@tensorflow/tfjs"))) {
    found.set("tfjs", { command: process.execPath, args: [at(PEERS.tfjs.script)] });
  }
  return found;
}

/** One running peer process with a fixed number of threads. */
class Peer {
  #child;
  #lines;
  /** @type {string} */
  #errors = "";
  ready;

  /**
   * @param {Start} start
   * @param {number} threads
   * @param {boolean} keepMemory
   */
  constructor({ command, args }, threads, keepMemory) {
    this.#child = spawn(command, [...args, "--threads", String(threads)], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, OMP_NUM_THREADS: String(threads), ...(keepMemory ? KEEP_MEMORY : {}) },
    });
    this.#child.stdin.on("error", () => {}); // a peer that died is reported by its missing answer
    this.#child.stderr.on("data", (data) => {
      this.#errors = (this.#errors + data).slice(-400);
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.ready = this.#next();
  }

  async #next() {
    let timer;
    const timeout = new Promise((resolve) => {
      timer = setTimeout(() => resolve({ value: undefined }), TIMEOUT_MS);
    });
    const { value } = /** @type {{ value?: string }} */ (await Promise.race([this.#lines.next(), timeout]));
    clearTimeout(timer);
    if (value !== undefined) return JSON.parse(value);
    this.close();
    return { error: `the peer gave no answer; its last words: ${this.#errors.trim().split("\n").at(-1)}` };
  }

  /**
   * @param {object} request
   * @returns {Promise<any>}
   */
  async ask(request) {
    const hello = await this.ready;
    if (hello.error) return hello;
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    return this.#next();
  }

  close() {
    this.#child.stdin.end();
    this.#child.kill();
  }
}

/** All peers of a run: started when first asked, one process for each number of threads. */
export class PeerGroup {
  /** @type {Map<string, Peer>} */
  #running = new Map();
  #found;

  /** @param {Map<PeerName, Start>} found */
  constructor(found) {
    this.#found = found;
  }

  /** @param {PeerName} name */
  has(name) {
    return this.#found.has(name);
  }

  /**
   * @param {PeerName} name
   * @param {number} threads
   * @param {object} request
   * @param {boolean} [keepMemory]
   * @returns {Promise<Answer>}
   */
  async ask(name, threads, request, keepMemory = false) {
    return this.#peer(name, threads, keepMemory).ask(request);
  }

  /** Starts the usual processes at once, so that nobody is importing modules while others are timed. */
  async start() {
    const starting = [];
    for (const name of this.#found.keys()) {
      const threads = name === "tfjs" ? [1] : [1, 2];
      for (const count of threads) starting.push(this.#peer(name, count, false).ready);
    }
    await Promise.all(starting);
  }

  /**
   * @param {PeerName} name
   * @param {number} threads
   * @param {boolean} keepMemory
   */
  #peer(name, threads, keepMemory) {
    const key = `${name}:${threads}:${keepMemory}`;
    let peer = this.#running.get(key);
    if (!peer) {
      peer = new Peer(/** @type {Start} */ (this.#found.get(name)), threads, keepMemory);
      this.#running.set(key, peer);
    }
    return peer;
  }

  /** Has every peer forget its case and free the memory. */
  async drop() {
    for (const peer of this.#running.values()) await peer.ask({ case: "drop", variant: "", elements: 0 });
  }

  close() {
    for (const peer of this.#running.values()) peer.close();
    this.#running.clear();
  }
}
