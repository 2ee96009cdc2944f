import { CudaError } from "./results.js";

/** What a function of the driver takes: numbers, addresses, and memory of JavaScript. */
export type Argument = number | bigint | string | ArrayBufferView | null;

const [int, uint, u64, pointer] = ["int", "uint", "uint64", "void *"];

/**
 * The functions of the driver that are used, by the names that its library exports (cuda.h maps its names to them); all
 * of them are in CUDA 10.1's and in today's. A test holds them against cuda.h where the machine has it.
 * Handles and device addresses are numbers: they stay below 2^53.
 */
export const signatures = {
  cuInit: [uint],
  cuDriverGetVersion: [pointer],
  cuGetErrorString: [int, pointer],
  cuDeviceGetCount: [pointer],
  cuDeviceGet: [pointer, int],
  cuDeviceGetName: [pointer, int, int],
  cuDeviceGetAttribute: [pointer, int, int],
  cuDeviceTotalMem_v2: [pointer, int],
  cuDevicePrimaryCtxRetain: [pointer, int],
  cuDevicePrimaryCtxRelease: [int],
  cuCtxSetCurrent: [u64],
  cuModuleLoadDataEx: [pointer, "str", uint, pointer, pointer],
  cuModuleUnload: [u64],
  cuModuleGetFunction: [pointer, u64, "str"],
  cuMemGetInfo_v2: [pointer, pointer],
  cuMemAlloc_v2: [pointer, u64],
  cuMemFree_v2: [u64],
  cuMemHostRegister_v2: [u64, u64, uint],
  cuMemHostUnregister: [u64],
  cuMemcpyHtoDAsync_v2: [u64, pointer, u64, u64],
  cuMemcpyDtoHAsync_v2: [pointer, u64, u64, u64],
  cuMemcpyDtoDAsync_v2: [u64, u64, u64, u64],
  cuMemsetD8Async: [u64, "uint8", u64, u64],
  cuStreamCreate: [pointer, uint],
  cuStreamDestroy_v2: [u64],
  cuStreamWaitEvent: [u64, u64, uint],
  cuEventCreate: [pointer, uint],
  cuEventDestroy_v2: [u64],
  cuEventRecord: [u64, u64],
  cuEventQuery: [u64],
  cuEventSynchronize: [u64],
  cuEventElapsedTime: [pointer, u64, u64],
  cuLaunchKernel: [u64, uint, uint, uint, uint, uint, uint, uint, u64, pointer, pointer],
} as const;

export type DriverCall = keyof typeof signatures;

type NativeFunction = ((...args: readonly Argument[]) => number) & {
  async(...args: readonly unknown[]): void;
};

/** What is used of the npm package `koffi`. */
export interface Koffi {
  load(path: string | null): {
    func(name: string, result: string, parameters: readonly string[]): unknown;
  };
  address(buffer: ArrayBuffer): bigint;
  decode: { string(address: bigint): string };
}

/** The NVIDIA driver's library. Every call throws a `CudaError` when it fails. */
export class CudaDriver {
  /** Path or name by which the library was found. */
  readonly library: string;
  /** Bytes of a page of host memory: 4096 on most machines, 65536 on some of ARM's. */
  readonly pageBytes: number;
  readonly #functions: Readonly<Record<DriverCall, NativeFunction>>;
  readonly #addressOf: (view: ArrayBufferView) => number;
  readonly #koffi: Koffi;
  readonly #word = new BigUint64Array(1);
  readonly #int = new Int32Array(1);

  /** @throws Error when the library or one of its functions is missing */
  constructor(koffi: Koffi, path: string) {
    this.library = path;
    const library = koffi.load(path);
    this.#koffi = koffi;
    this.#functions = Object.fromEntries(
      Object.entries(signatures).map(([name, parameters]) => [name, library.func(name, "int", parameters)]),
    ) as Record<DriverCall, NativeFunction>;
    // memmove of nothing gives back its first argument: the address of memory that may be shared between threads.
    const libc = koffi.load(process.platform === "win32" ? "ucrtbase.dll" : null);
    const memmove = libc.func("memmove", "uint64", [pointer, pointer, "size_t"]) as (
      to: ArrayBufferView,
      from: ArrayBufferView,
      bytes: number,
    ) => number;
    this.#addressOf = (view) => Number(memmove(view, view, 0));
    const pageSize = process.platform === "win32" ? undefined : libc.func("getpagesize", "int", []);
    this.pageBytes = pageSize === undefined ? 4096 : (pageSize as () => number)();
  }

  call(name: DriverCall, ...args: readonly Argument[]): void {
    const result = this.#functions[name](...args);
    if (result !== 0) throw this.error(name, result);
  }

  /** The result, whatever it is. */
  try(name: DriverCall, ...args: readonly Argument[]): number {
    return this.#functions[name](...args);
  }

  /** The result, from a thread that is not this one and has no context of its own; the event loop goes on. */
  async(name: DriverCall, ...args: readonly Argument[]): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#functions[name].async(...args, (error: unknown, result: number) => {
        if (error) reject(error);
        else resolve(result);
      });
    });
  }

  /** What a function writes at its first argument: a handle, an address or a size. */
  word(name: DriverCall, ...args: readonly Argument[]): number {
    this.#word[0] = 0n;
    this.call(name, this.#word, ...args);
    return Number(this.#word[0]);
  }

  int(name: DriverCall, ...args: readonly Argument[]): number {
    this.#int[0] = 0;
    this.call(name, this.#int, ...args);
    return this.#int[0];
  }

  /** Address of the first byte of a view; the view's memory must not be collected while it is used. */
  addressOf(view: ArrayBufferView): number {
    return this.#addressOf(view);
  }

  error(call: string, result: number): CudaError {
    const text = new BigUint64Array(1);
    const known = this.#functions.cuGetErrorString(result, text) === 0 && text[0] !== 0n;
    return new CudaError(call, result, known ? this.#koffi.decode.string(text[0]!) : undefined);
  }
}
