import { loadNativeLibrary } from "@shardgrad/workers";
import { OptionError } from "../errors/index.js";
import type { RuntimeOptions } from "./runtime.js";

const devices = ["auto", "cpu", "cuda", "webgpu", "tfjs"] as const;
const PAGE = 65_536;
const MOST_THREADS = 1_024;

const rules: Readonly<
  Record<keyof RuntimeOptions, readonly [expected: string, valid: (value: unknown) => boolean]>
> = {
  threads: [`an integer from 0 to ${MOST_THREADS}`, (v) => isCount(v) && v <= MOST_THREADS],
  device: [`one of ${devices.map((name) => `"${name}"`).join(", ")}`, (v) => devices.includes(v as never)],
  tf: ["the tfjs module", (v) => typeof v === "object" && v !== null],
  kernels: ['"auto", "wasm" or "native"', (v) => v === "auto" || v === "wasm" || v === "native"],
  inlineThreshold: ["a number of elements, 0 or more", (v) => typeof v === "number" && v >= 0],
  maxQueue: ["an integer, 0 or more", isCount],
  journalBytes: ["a number of bytes, 0 or more", isCount],
  arenaBytes: [`a number of bytes, at least ${2 * PAGE}`, (v) => isCount(v) && v >= 2 * PAGE],
};

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** @throws OptionError for the first option that is unknown or bad. */
export function checkRuntimeOptions(options: RuntimeOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(rules, name)) {
      const expected = `one of ${Object.keys(rules).join(", ")}`;
      throw new OptionError({
        argument: name,
        received: value,
        expected,
        message: `Unknown option \`${name}\`: expected ${expected}`,
      });
    }
    const [expected, valid] = rules[name as keyof RuntimeOptions];
    if (value !== undefined && !valid(value))
      throw new OptionError({ argument: name, received: value, expected });
  }
  const native = options.kernels === "native" ? loadNativeLibrary() : undefined;
  if (typeof native === "string") {
    const message = `kernels: "native" was asked for, but ${native}.`;
    throw new OptionError({ argument: "kernels", received: "native", expected: '"auto" or "wasm"', message });
  }
}
