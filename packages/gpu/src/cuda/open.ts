import { CudaBackend } from "./backend.js";
import { type CudaDeviceInfo, usableDevices } from "./device.js";
import { CudaDriver, type Koffi } from "./driver.js";
import { CudaResources } from "./resources.js";
import { CudaError } from "./results.js";

/** The options of {@link openCuda}. */
export interface OpenCudaOptions {
  /** Number of the device, in the driver's order. Default: the first that can be used. */
  readonly device?: number;
  /** Bytes of host memory that may be pinned at most. Default: a quarter of the machine's. */
  readonly pinLimit?: number;
  /**
   * Path of the driver's library, in place of the one that the system finds by its name. Default: the environment
   * variable SHARDGRAD_CUDA_LIBRARY, where it is set.
   */
  readonly library?: string;
}

/**
 * A CUDA back end; or why there is none, in one line. Never rejects. Runtimes open it by themselves (`device: "cuda"`): this
 * tells what they would find.
 * @example
 * import { openCuda } from "@shardgrad/gpu";
 * const cuda = await openCuda();
 * console.log(typeof cuda === "string" ? `no CUDA because of ${cuda}` : cuda.description);
 * if (typeof cuda !== "string") await cuda.close();
 */
export async function openCuda(options: OpenCudaOptions = {}): Promise<CudaBackend | string> {
  let koffi: Koffi;
  try {
    koffi = (await import("koffi")).default as unknown as Koffi;
  } catch (error) {
    return `CUDA: the package "koffi" could not be loaded: ${firstLine(error)}`;
  }
  let driver: CudaDriver;
  try {
    driver = loadDriver(koffi, options.library ?? process.env.SHARDGRAD_CUDA_LIBRARY);
  } catch (error) {
    return `CUDA: no NVIDIA driver: ${firstLine(error)}`;
  }
  try {
    return await openDevice(driver, options);
  } catch (error) {
    return `CUDA: the device could not be opened: ${firstLine(error)}`;
  }
}

/**
 * Where the driver's library lies: where the system looks, and for systems that do not look there, where WSL and NixOS
 * have it.
 */
const places =
  process.platform === "win32"
    ? ["nvcuda.dll"]
    : ["libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "/run/opengl-driver/lib/libcuda.so.1"];

/** Libraries stay loaded: the driver has threads of its own, under which koffi would take away what nobody holds. */
const drivers = new Map<string, CudaDriver>();

/** @throws Error why the library could not be loaded from the first place */
function loadDriver(koffi: Koffi, library: string | undefined): CudaDriver {
  const errors: unknown[] = [];
  for (const path of library === undefined ? places : [library]) {
    try {
      const driver = drivers.get(path) ?? new CudaDriver(koffi, path);
      drivers.set(path, driver);
      return driver;
    } catch (error) {
      errors.push(error);
    }
  }
  throw errors[0];
}

/** The first device that opens: one that another process has for itself alone shows only then. */
async function openDevice(
  driver: CudaDriver,
  { device: ordinal, pinLimit }: OpenCudaOptions,
): Promise<CudaBackend | string> {
  const devices = await usableDevices(driver, ordinal);
  if (typeof devices === "string") return `CUDA: ${devices}`;
  const refused: string[] = [];
  for (const device of devices) {
    try {
      return await openBackend(driver, device, pinLimit);
    } catch (error) {
      if (!(error instanceof CudaError && error.call === "cuDevicePrimaryCtxRetain")) throw error;
      refused.push(`${device.name} could not be opened: ${firstLine(error)}`);
    }
  }
  return `CUDA: ${refused.join("; ")}`;
}

async function openBackend(
  driver: CudaDriver,
  device: CudaDeviceInfo,
  pinLimit: number | undefined,
): Promise<CudaBackend> {
  const resources = await CudaResources.open(driver, device);
  let backend: CudaBackend;
  try {
    backend = new CudaBackend(resources, pinLimit);
  } catch (error) {
    resources.release();
    throw error;
  }
  try {
    await backend.loadKernels();
    return backend;
  } catch (error) {
    await backend.close();
    throw error;
  }
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n", 1)[0]!;
}
