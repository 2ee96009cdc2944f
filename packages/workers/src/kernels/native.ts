import { createRequire } from "node:module";
import { type Kernel, kernels } from "./table.js";

/** Which kernels a runtime uses: `auto` is native where a library for this machine is at hand, else WebAssembly. */
export type KernelChoice = "auto" | "wasm" | "native";

/** What `native/addon.c` exports. */
interface NativeLibrary {
  /** The instruction set that was chosen for this processor. */
  readonly instructions: string;
  /** Names of the WebAssembly exports that it stands in for, by their number in `run`. */
  readonly kernels: readonly string[];
  addressOf(view: Uint8Array): number;
  run(kernel: number, address: number, program: Float64Array, at: number): void;
  adviseHugePages(address: number, bytes: number): boolean;
}

/** The native kernels: the bits of the WebAssembly ones, with wider vectors and prefetching. */
export interface NativeKernels {
  readonly library: NativeLibrary;
  /** Number of a kernel in the library by its id, or -1 where only WebAssembly has it. */
  readonly numbers: readonly number[];
}

/** Below this many elements a call into the library (about 0.2 µs) costs more than it saves. */
export const LEAST_NATIVE = 1_024;

const path = `../native/${process.platform}-${process.arch}.node`;
let loaded: NativeKernels | string | undefined;

/** The native kernels, or why there are none. Loaded once a thread; never throws. */
export function loadNativeKernels(): NativeKernels | string {
  loaded ??= load();
  return loaded;
}

function load(): NativeKernels | string {
  try {
    const library = createRequire(import.meta.url)(path) as NativeLibrary;
    const numbers = kernels.map(({ exportName }: Kernel) => library.kernels.indexOf(exportName));
    return { library, numbers };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "MODULE_NOT_FOUND") return `no native kernels for ${process.platform}-${process.arch}`;
    return `the native kernels could not be loaded: ${message}`;
  }
}

/** The kernels of a choice; undefined means WebAssembly. */
export function nativeFor(choice: KernelChoice): NativeKernels | undefined {
  if (choice === "wasm") return undefined;
  const found = loadNativeKernels();
  return typeof found === "string" ? undefined : found;
}
