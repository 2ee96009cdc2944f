import type { CudaDriver } from "./driver.js";

/** Numbers of CUdevice_attribute. */
const attributes = { computeMode: 20, major: 75, minor: 76 };
const PROHIBITED = 2;
/** The oldest architecture that the PTX text is for (Turing), and the first driver that knows its PTX version. */
const LEAST_CAPABILITY = 75;
const LEAST_CUDA = 10_010;

export interface CudaDeviceInfo {
  readonly ordinal: number;
  readonly handle: number;
  readonly name: string;
  /** 75 for 7.5. */
  readonly capability: number;
  readonly totalBytes: number;
  /** CUDA version of the driver, 12040 for 12.4. */
  readonly cuda: number;
}

/**
 * The devices that can be used, in the driver's order, or the one asked for. A line that says why there is none otherwise.
 * @throws CudaError
 */
export async function usableDevices(
  driver: CudaDriver,
  ordinal: number | undefined,
): Promise<readonly CudaDeviceInfo[] | string> {
  // Takes some hundred milliseconds.
  const result = await driver.async("cuInit", 0);
  if (result !== 0) throw driver.error("cuInit", result);
  const cuda = driver.int("cuDriverGetVersion");
  if (cuda < LEAST_CUDA) return `the driver is for CUDA ${versionOf(cuda)}, 10.1 is needed`;
  const count = driver.int("cuDeviceGetCount");
  if (count === 0) return "no NVIDIA GPU is visible to this process";
  if (ordinal !== undefined && !(Number.isInteger(ordinal) && ordinal >= 0 && ordinal < count)) {
    return `there is no device ${ordinal}: devices are numbered from 0 to ${count - 1}`;
  }
  const usable: CudaDeviceInfo[] = [];
  const refused: string[] = [];
  for (const candidate of ordinal === undefined ? Array(count).keys() : [ordinal]) {
    const device = describeDevice(driver, candidate, cuda);
    if (typeof device === "string") refused.push(device);
    else usable.push(device);
  }
  return usable.length > 0 ? usable : refused.join("; ");
}

function describeDevice(driver: CudaDriver, ordinal: number, cuda: number): CudaDeviceInfo | string {
  const handle = driver.int("cuDeviceGet", ordinal);
  const bytes = new Uint8Array(256);
  driver.call("cuDeviceGetName", bytes, bytes.length, handle);
  const name = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  const attribute = (number: number) => driver.int("cuDeviceGetAttribute", number, handle);
  const capability = attribute(attributes.major) * 10 + attribute(attributes.minor);
  if (capability < LEAST_CAPABILITY) {
    return `${name} has compute capability ${capability / 10}, 7.5 is needed`;
  }
  if (attribute(attributes.computeMode) === PROHIBITED) return `${name} is closed to computing`;
  return {
    ordinal,
    handle,
    name,
    capability,
    totalBytes: driver.word("cuDeviceTotalMem_v2", handle),
    cuda,
  };
}

export function versionOf(cuda: number): string {
  return `${Math.floor(cuda / 1000)}.${Math.floor((cuda % 1000) / 10)}`;
}
