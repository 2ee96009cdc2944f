import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type OpenCudaOptions, openCuda } from "@shardgrad/gpu";
import { ptxToCpp } from "./ptx-to-cpp.js";
import { cppCompiler, stubCudaMissing } from "./stub-cuda-missing.js";

const source = fileURLToPath(new URL("stub/", import.meta.url));
const kernels = fileURLToPath(new URL("../../packages/gpu/cuda/", import.meta.url));
// -fno-math-errno and -fno-trapping-math only say that nobody looks at errno or at the exception flags.
const plain = "-std=c++17 -O2 -shared -fPIC -pthread -ffp-contract=off -fno-math-errno -fno-trapping-math";
// Without checks of stacks: the threads of translated PTX are fibers, which change them.
const sanitized =
  "-g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all --param asan-stack=0";
/** scripts/sanitize-cuda.mjs sets it: every access of a kernel is checked, to its buffer and its alignment. */
const flags = process.env.SHARDGRAD_TEST_SANITIZE === "1" ? `${plain} ${sanitized}` : plain;

type Control = (...args: readonly (string | number | Uint8Array)[]) => number;

/** The stand-in for the NVIDIA driver: see stub/libcuda.cpp. */
export class StubCuda {
  readonly path: string;
  readonly #reset: Control;
  readonly #set: Control;
  readonly #fail: Control;
  readonly #takeLog: Control;
  readonly #left: Control;
  readonly #failed: Control;
  readonly #current: Control;

  constructor(path: string) {
    this.path = path;
    const library = createRequire(import.meta.url)("koffi").load(path);
    this.#reset = library.func("stubReset", "void", []);
    this.#set = library.func("stubSet", "void", ["str", "int64"]);
    this.#fail = library.func("stubFail", "void", ["str", "int", "int", "int"]);
    this.#takeLog = library.func("stubTakeLog", "size_t", ["void *", "size_t"]);
    this.#left = library.func("stubLeft", "int", []);
    this.#failed = library.func("stubFailed", "int", []);
    this.#current = library.func("stubCurrent", "uint64", []);
  }

  reset(seed = 1): void {
    this.#reset();
    this.set("seed", seed);
  }

  set(setting: string, value: number): void {
    this.#set(setting, value);
  }

  /** Makes a call fail: the next one of this name, or the one after `after` others. */
  fail(call: string, result: number, { after = 0, sticky = false } = {}): void {
    this.#fail(call, after, result, sticky ? 1 : 0);
  }

  /** The calls since the last time, each with what it was about. */
  takeLog(): string[] {
    const bytes = new Uint8Array(2 ** 22);
    const length = this.#takeLog(bytes, bytes.length);
    return new TextDecoder().decode(bytes.subarray(0, length)).split("\n").slice(0, -1);
  }

  /** How many things of the driver were not given back; a thousand and more: calls that a driver would not survive. */
  get left(): number {
    return this.#left();
  }

  /** How many calls have failed as they were told to. */
  get failures(): number {
    return this.#failed();
  }

  /** The context that is current on this thread; 0: none. */
  get current(): number {
    return Number(this.#current());
  }

  async open(options: OpenCudaOptions = {}) {
    const backend = await openCuda({ library: this.path, ...options });
    if (typeof backend === "string") throw new Error(backend);
    return backend;
  }
}

/**
 * Builds the stub; why there is none in one line otherwise.
 * @param runs - the kernels' sources, or the PTX text that the package ships
 */
export function stubCuda(runs: "sources" | "ptx" = "sources"): StubCuda | string {
  const missing = stubCudaMissing();
  if (missing !== undefined) return missing;
  const hash = createHash("sha256").update(flags + runs);
  const translated = runs === "ptx" ? ptxToCpp(readFileSync(join(kernels, "kernels.ptx"), "utf8")) : "";
  hash.update(translated);
  for (const folder of [source, kernels]) {
    for (const name of readdirSync(folder).sort()) hash.update(readFileSync(join(folder, name)));
  }
  const folder = join(tmpdir(), "shardgrad-stub-cuda");
  const path = join(folder, `${hash.digest("hex").slice(0, 16)}.so`);
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true });
    const own = `${path}-${process.pid}`;
    const args = [...flags.split(" "), join(source, "libcuda.cpp"), "-o", own];
    if (runs === "ptx") {
      writeFileSync(`${own}.h`, translated);
      args.push(`-DPTX_KERNELS="${own}.h"`);
    }
    const { status, stderr } = spawnSync(cppCompiler, args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`The stub does not compile:\n${stderr}`);
    renameSync(own, path);
  }
  return new StubCuda(path);
}
