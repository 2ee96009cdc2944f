import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface ChildResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs an ES module in a node process of its own; one that has not ended after `timeout` ms is killed. */
export function runInChild(source: string, { timeout = 15_000, cwd = root, flags = [] as string[] } = {}) {
  return new Promise<ChildResult>((resolve, reject) => {
    const child = spawn(process.execPath, [...flags, "--input-type=module", "--eval", source], {
      cwd,
      timeout,
    });
    let output = "";
    let errors = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    child.stderr.on("data", (chunk) => {
      errors += chunk;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, output, errors }));
  });
}
