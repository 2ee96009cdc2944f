import type { Accelerator, AcceleratorPackage, OpenOptions } from "@shardgrad/workers";

/** A name that no bundler and no compiler follows: the package is optional. */
const GPU_PACKAGE: string = "@shardgrad/gpu";

/** The first accelerator that works, or why there is none: one line for each that was tried. Never throws. */
export async function openAccelerator(options: OpenOptions): Promise<Accelerator | readonly string[]> {
  let gpu: AcceleratorPackage;
  try {
    gpu = (await import(GPU_PACKAGE)) as AcceleratorPackage;
  } catch (error) {
    const missing = (error as { code?: unknown }).code === "ERR_MODULE_NOT_FOUND";
    if (missing && firstLine(error).includes(`'${GPU_PACKAGE}'`)) return [`${GPU_PACKAGE} is not installed`];
    return [`${GPU_PACKAGE} could not be loaded: ${firstLine(error)}`];
  }
  try {
    return await gpu.openAccelerator(options);
  } catch (error) {
    return [`${GPU_PACKAGE} failed: ${firstLine(error)}`];
  }
}

export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0]!;
}

/** Whether a device had no room, and is as good as before. */
export function isOutOfMemory(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "ERR_SHARDGRAD_GPU_MEMORY";
}
