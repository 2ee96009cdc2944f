import { type KernelChoice, loadNativeLibrary } from "@shardgrad/workers";
import { OptionError } from "../errors/index.js";
import { checkOptions } from "../schedules/options.js";
import type { CloseOptions } from "./runtime.js";

/** The options of {@link Runtime}; see docs/threads-and-memory.md, and docs/gpu.md for devices. */
export interface RuntimeOptions {
  /** Worker threads that share a step. 0 runs everything on the calling thread. Default: all processors. */
  readonly threads?: number | undefined;
  /**
   * Where steps run. `auto`, the default: on the CPU, and large steps on a GPU where the package `@shardgrad/gpu` is
   * installed and finds one. `cuda`, `webgpu`, `tfjs`: everything there that can be, on the CPU where it cannot be opened.
   * `cpu`: nowhere else. See docs/gpu.md.
   */
  readonly device?: "auto" | "cpu" | "cuda" | "webgpu" | "tfjs" | undefined;
  /**
   * The tfjs module of the application, with its back end set: what `device: "tfjs"` computes with. `auto` takes it when
   * it finds no other device and the back end is one on a GPU.
   */
  readonly tf?: object | undefined;
  /**
   * `wasm` kernels run everywhere; `native` ones use the processor's widest vectors and prefetching. The results have
   * the same bits. `auto`, the default, takes native ones where the package has them for this platform, except for
   * the smallest variables.
   */
  readonly kernels?: KernelChoice | undefined;
  /**
   * Steps over fewer elements than this run on the calling thread: waking threads would take longer. Default: about
   * 100 µs of work, 500,000 elements with native kernels and 200,000 with WebAssembly.
   */
  readonly inlineThreshold?: number | undefined;
  /** Asynchronous steps that may wait behind the running one. Default 1024. */
  readonly maxQueue?: number | undefined;
  /**
   * Bytes of gradients that are kept so that nothing is lost when a device is: when they are full, everything on the
   * device is copied to the host. Default: 512 MiB, or as much as the device holds if that is more. 0 copies after
   * every step.
   */
  readonly journalBytes?: number | undefined;
  /** Largest size of one shared memory in bytes, at most and by default 4 GiB. Larger variables are split. */
  readonly arenaBytes?: number | undefined;
}

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
  if (typeof options !== "object" || options === null) {
    throw new OptionError({ argument: "options", received: options, expected: "an object of options" });
  }
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

/** @throws OptionError */
export function checkCloseOptions(options: CloseOptions): void {
  checkOptions("Runtime.close", options, { timeout: "timeout", signal: "signal" });
  const { timeout, signal } = options;
  if (timeout !== undefined && !(typeof timeout === "number" && timeout >= 0)) {
    const expected = "a number of milliseconds, 0 or more";
    throw new OptionError({ argument: "timeout", received: timeout, expected });
  }
  if (signal !== undefined && typeof (signal as AbortSignal | null)?.addEventListener !== "function") {
    throw new OptionError({ argument: "signal", received: signal, expected: "an AbortSignal" });
  }
}
