import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const LOADER = "libvulkan.so.1";
const folders = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];

/**
 * Says that a Linux machine has no Vulkan loader; undefined where it may have one. Dawn would say so itself, on standard
 * error and with a stack trace, in every process that only looks for a device.
 */
export function loaderMissing(): string | undefined {
  if (process.platform !== "linux") return undefined;
  // Who names drivers knows where the loader is.
  if (process.env.VK_ICD_FILENAMES || process.env.VK_DRIVER_FILES) return undefined;
  const further = (process.env.LD_LIBRARY_PATH ?? "").split(":").filter(Boolean);
  if ([...folders, ...further].some((folder) => existsSync(join(folder, LOADER)))) return undefined;
  if (isInCache()) return undefined;
  return `no Vulkan loader (${LOADER}) on this machine`;
}

/** Whether the dynamic linker's list of libraries names the loader. */
function isInCache(): boolean {
  try {
    return readFileSync("/etc/ld.so.cache").includes(LOADER);
  } catch {
    return false;
  }
}
