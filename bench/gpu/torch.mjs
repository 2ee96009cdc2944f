/** PyTorch on the same device, in a process of its own (torch_cuda.py), where there is one. */
import { spawn, spawnSync } from "node:child_process";
import { delimiter } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { summarize } from "../lib/statistics.mjs";

const script = fileURLToPath(new URL("torch_cuda.py", import.meta.url));
const venv = fileURLToPath(new URL("../peers/.venv/bin/python", import.meta.url));

export class Torch {
  #child;
  #lines;

  /** @param {string} python */
  constructor(python) {
    this.#child = spawn(python, [script], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdin.on("error", () => {}); // a process that died is told by its missing answer
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** @returns {Promise<{ version?: string, samples?: number[], error?: string }>} */
  async next() {
    const { value } = await this.#lines.next();
    return value === undefined ? { error: "PyTorch gave no answer" } : JSON.parse(value);
  }

  /**
   * @param {object} request
   * @returns {Promise<import("../lib/statistics.mjs").Summary | string>} times in ns, or why there are none
   */
  async time(request) {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const { samples, error } = await this.next();
    return samples === undefined ? (error ?? "no answer") : summarize(samples);
  }

  close() {
    this.#child.stdin.end();
  }
}

/**
 * @param {readonly string[]} pythons
 * @returns {Promise<{ torch: Torch, version: string } | string>} why there is none otherwise
 */
export async function openTorch(pythons) {
  const fromEnvironment = (process.env.SHARDGRAD_BENCH_PYTHON ?? "").split(delimiter).filter(Boolean);
  const candidates = [...pythons, ...fromEnvironment, venv, "python3"];
  const python = candidates.find((path) => spawnSync(path, ["-c", "import torch"]).status === 0);
  if (python === undefined) return "no Python with PyTorch was found (--python)";
  const torch = new Torch(python);
  const { version, error } = await torch.next();
  if (version !== undefined) return { torch, version };
  torch.close();
  return error ?? "no answer";
}
