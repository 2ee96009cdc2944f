import { createRequire } from "node:module";
import { type Kernel, kernels } from "./table.js";

/**
 * Which kernels a runtime uses. `wasm` and `native` mean every call that has such a kernel; `auto` takes native ones,
 * where a library for this machine is at hand, for all but the smallest calls.
 */
export type KernelChoice = "auto" | "wasm" | "native";

/** The native kernels for one instruction set: the bits of the WebAssembly ones, wider vectors, prefetching. */
export interface NativeSet {
  readonly instructions: string;
  /** Names of the WebAssembly exports that it stands in for, by their number in `run`. */
  readonly kernels: readonly string[];
  run(kernel: number, address: number, program: Float64Array, at: number): void;
}

/** What `native/addon.c` exports. */
export interface NativeLibrary {
  /** What this processor can run, best first. */
  readonly sets: readonly [NativeSet, ...NativeSet[]];
  addressOf(view: Uint8Array): number;
  adviseHugePages(address: number, bytes: number): boolean;
  /** Lets other threads interrupt the calling one at once; false where the system cannot. */
  giveWay(): boolean;
}

export interface NativeKernels {
  readonly library: NativeLibrary;
  readonly set: NativeSet;
  /** Number of a kernel in the set by its id, or -1 where only WebAssembly has it. */
  readonly numbers: readonly number[];
  /** Calls over fewer elements stay with WebAssembly. */
  readonly least: number;
}

/** Below this many elements a call into the library (about 0.2 µs) costs more than it saves. */
const LEAST_NATIVE = 1_024;

const path = `../native/${process.platform}-${process.arch}.node`;
let loaded: NativeLibrary | string | undefined;

/** The library for this machine, or why there is none. Loaded once a thread; never throws. */
export function loadNativeLibrary(): NativeLibrary | string {
  loaded ??= load();
  return loaded;
}

function load(): NativeLibrary | string {
  try {
    return createRequire(import.meta.url)(path) as NativeLibrary;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "MODULE_NOT_FOUND")
      return `there are no native kernels for ${process.platform}-${process.arch}`;
    return `the native kernels could not be loaded: ${message}`;
  }
}

/** The native kernels of a choice; undefined means WebAssembly alone. */
export function nativeFor(choice: KernelChoice): NativeKernels | undefined {
  const library = choice === "wasm" ? "not wanted" : loadNativeLibrary();
  if (typeof library === "string") return undefined;
  const [set] = library.sets;
  const numbers = kernels.map(({ exportName }: Kernel) => set.kernels.indexOf(exportName));
  return { library, set, numbers, least: choice === "native" ? 0 : LEAST_NATIVE };
}
