/** Results of the driver's functions that mean something to this package. */
export const OUT_OF_MEMORY = 2;
export const NOT_READY = 600;
export const ALREADY_REGISTERED = 712;

/** Names of the results that are likely; the driver is asked for the others. */
const names: Readonly<Record<number, string>> = {
  1: "CUDA_ERROR_INVALID_VALUE",
  2: "CUDA_ERROR_OUT_OF_MEMORY",
  3: "CUDA_ERROR_NOT_INITIALIZED",
  4: "CUDA_ERROR_DEINITIALIZED",
  34: "CUDA_ERROR_STUB_LIBRARY",
  46: "CUDA_ERROR_DEVICE_UNAVAILABLE",
  100: "CUDA_ERROR_NO_DEVICE",
  101: "CUDA_ERROR_INVALID_DEVICE",
  200: "CUDA_ERROR_INVALID_IMAGE",
  201: "CUDA_ERROR_INVALID_CONTEXT",
  214: "CUDA_ERROR_ECC_UNCORRECTABLE",
  218: "CUDA_ERROR_INVALID_PTX",
  220: "CUDA_ERROR_NVLINK_UNCORRECTABLE",
  221: "CUDA_ERROR_JIT_COMPILER_NOT_FOUND",
  222: "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
  400: "CUDA_ERROR_INVALID_HANDLE",
  500: "CUDA_ERROR_NOT_FOUND",
  700: "CUDA_ERROR_ILLEGAL_ADDRESS",
  701: "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
  702: "CUDA_ERROR_LAUNCH_TIMEOUT",
  709: "CUDA_ERROR_CONTEXT_IS_DESTROYED",
  712: "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
  714: "CUDA_ERROR_HARDWARE_STACK_ERROR",
  715: "CUDA_ERROR_ILLEGAL_INSTRUCTION",
  716: "CUDA_ERROR_MISALIGNED_ADDRESS",
  717: "CUDA_ERROR_INVALID_ADDRESS_SPACE",
  718: "CUDA_ERROR_INVALID_PC",
  719: "CUDA_ERROR_LAUNCH_FAILED",
  800: "CUDA_ERROR_NOT_PERMITTED",
  801: "CUDA_ERROR_NOT_SUPPORTED",
  802: "CUDA_ERROR_SYSTEM_NOT_READY",
  803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
  804: "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
  999: "CUDA_ERROR_UNKNOWN",
};

/** What the most likely reasons for no CUDA mean to a person. */
const hints: Readonly<Record<number, string>> = {
  34: "the library that was found is a stub without a driver",
  100: "no NVIDIA GPU is visible to this process",
  802: "the system's GPU services are not running yet",
  803: "driver and library are of different versions: restart after a driver update",
  804: "the compatibility library does not support this GPU",
  999: "the driver could not start; its kernel modules may be missing",
};

/** A driver function that failed. */
export class CudaError extends Error {
  override readonly name = "CudaError";

  constructor(
    readonly call: string,
    readonly result: number,
    readonly text?: string,
  ) {
    super(`${call}: ${describeResult(result, text)}`);
  }
}

/** The name and number of a result, and what it means where that is known. */
export function describeResult(result: number, text?: string): string {
  const name = names[result];
  const described = name === undefined ? `CUDA error ${result}` : `${name} (${result})`;
  const more = hints[result] ?? text;
  return more === undefined ? described : `${described}: ${more}`;
}
