import { type GpuKernelName, gpuKernels } from "../kernels/table.js";
import { compileKernels } from "./compile.js";
import type { CudaDeviceInfo } from "./device.js";
import type { CudaDriver } from "./driver.js";
import { Events } from "./events.js";
import { exportsOf } from "./kernels.js";

/** CU_STREAM_NON_BLOCKING */
const NON_BLOCKING = 1;

/** What a back end holds of the driver from its opening to its closing. */
export class CudaResources {
  readonly driver: CudaDriver;
  readonly device: CudaDeviceInfo;
  readonly context: number;
  readonly events: Events;
  readonly #streams: number[] = [];
  readonly #functions = new Map<string, number>();
  #module: number | undefined;

  /** @throws CudaError; nothing is held then */
  static async open(driver: CudaDriver, device: CudaDeviceInfo): Promise<CudaResources> {
    const context = new BigUint64Array(1);
    // The first of a process takes some hundred milliseconds.
    const result = await driver.async("cuDevicePrimaryCtxRetain", context, device.handle);
    if (result !== 0) throw driver.error("cuDevicePrimaryCtxRetain", result);
    const resources = new CudaResources(driver, device, Number(context[0]));
    try {
      await resources.#load();
    } catch (error) {
      resources.release();
      throw error;
    }
    return resources;
  }

  private constructor(driver: CudaDriver, device: CudaDeviceInfo, context: number) {
    this.driver = driver;
    this.device = device;
    this.context = context;
    this.events = new Events(driver, this.context);
  }

  /** Compiles the kernels. @throws (rejects) CudaError */
  async #load(): Promise<void> {
    this.#module = await compileKernels(this.driver, this.context);
    this.driver.call("cuCtxSetCurrent", this.context);
    for (const kernel of Object.keys(gpuKernels) as GpuKernelName[]) {
      for (const name of exportsOf(kernel)) {
        this.#functions.set(name, this.driver.word("cuModuleGetFunction", this.#module, name));
      }
    }
  }

  stream(): number {
    const stream = this.driver.word("cuStreamCreate", NON_BLOCKING);
    this.#streams.push(stream);
    return stream;
  }

  /** The compiled kernel of an export name such as `adagradDenseF32`. */
  function(name: string): number | undefined {
    return this.#functions.get(name);
  }

  /** All kernels. */
  functions(): Iterable<number> {
    return this.#functions.values();
  }

  /** Nothing is expected of a device that may be gone: results are not looked at. */
  release(): void {
    this.events.close();
    for (const stream of this.#streams) this.driver.try("cuStreamDestroy_v2", stream);
    if (this.#module !== undefined) this.driver.try("cuModuleUnload", this.#module);
    // A context that is gone must not stay the thread's current one: other libraries take what is current.
    this.driver.try("cuCtxSetCurrent", 0);
    this.driver.try("cuDevicePrimaryCtxRelease", this.device.handle);
  }
}
