import { CudaBackend } from "./backend.js";
import { chooseDevice } from "./device.js";
import { CudaDriver, type Koffi } from "./driver.js";
import { CudaResources } from "./resources.js";

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

/** A back end, or why there is none in one line. */
export async function openCuda(options: OpenCudaOptions = {}): Promise<CudaBackend | string> {
  let koffi: Koffi;
  try {
    koffi = (await import("koffi")).default as unknown as Koffi;
  } catch (error) {
    return `CUDA: the package "koffi" could not be loaded: ${firstLine(error)}`;
  }
  let driver: CudaDriver;
  try {
    driver = new CudaDriver(koffi, options.library ?? process.env.SHARDGRAD_CUDA_LIBRARY);
  } catch (error) {
    return `CUDA: no NVIDIA driver: ${firstLine(error)}`;
  }
  try {
    return await openDevice(driver, options);
  } catch (error) {
    return `CUDA: the device could not be opened: ${firstLine(error)}`;
  }
}

async function openDevice(
  driver: CudaDriver,
  { device: ordinal, pinLimit }: OpenCudaOptions,
): Promise<CudaBackend | string> {
  const device = await chooseDevice(driver, ordinal);
  if (typeof device === "string") return `CUDA: ${device}`;
  const resources = await CudaResources.open(driver, device);
  try {
    return new CudaBackend(resources, pinLimit);
  } catch (error) {
    resources.release();
    throw error;
  }
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n", 1)[0]!;
}
