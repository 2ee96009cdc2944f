import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { brotliDecompressSync } from "node:zlib";

const require = createRequire(import.meta.url);

/** The software drivers that the tests know; `SHARDGRAD_TEST_VULKAN` names one. */
type Driver = "swiftshader" | "lavapipe";

/** The Vulkan loader, for good: koffi unloads a library that nobody holds. */
const held: unknown[] = [];

/** Where a driver is: its manifest, and the Vulkan loader by its path or its name. */
interface DriverFiles {
  readonly manifest: string;
  readonly loader: string;
}

/**
 * Makes a Vulkan driver that runs on the processor the only one of this process; to be called before the package
 * `webgpu` is loaded. Returns why there is none, in one line.
 */
export function useSoftwareVulkan(): string | undefined {
  const driver = (process.env.SHARDGRAD_TEST_VULKAN ?? "swiftshader") as Driver;
  const missing = driver === "lavapipe" ? lavapipeMissing() : softwareVulkanMissing();
  if (missing !== undefined) return missing;
  try {
    const { manifest, loader } = driver === "lavapipe" ? lavapipe()! : swiftShader();
    process.env.VK_ICD_FILENAMES = manifest;
    // Loaded by its path, the loader is found again by its name when Dawn asks for it; unless it was collected before.
    held.push(require("koffi").load(loader));
    return undefined;
  } catch (error) {
    return `the software Vulkan driver could not be loaded: ${(error as Error).message.split("\n", 1)[0]}`;
  }
}

/** Why SwiftShader, out of the npm package `@sparticuz/chromium`, is not here, or undefined; loads nothing. */
export function softwareVulkanMissing(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return `@sparticuz/chromium has no Vulkan driver for ${process.platform}-${process.arch}`;
  }
  return undefined;
}

/** Why lavapipe, Mesa's driver on the processor, is not here, or undefined; loads nothing. */
export function lavapipeMissing(): string | undefined {
  const found = lavapipe();
  if (found === undefined)
    return "it is not installed (Debian: mesa-vulkan-drivers, bookworm's of backports)";
  const { ICD } = JSON.parse(readFileSync(found.manifest, "utf8")) as { ICD: { api_version: string } };
  const [major, minor] = ICD.api_version.split(".").map(Number);
  // Mesa 22, of Debian bookworm, lacks a feature that Dawn asks for; Mesa 25 is tried.
  if (major! < 1 || (major === 1 && minor! < 4)) {
    return `it is for Vulkan ${ICD.api_version}, Mesa 25 with Vulkan 1.4 is needed`;
  }
  return undefined;
}

const MANIFESTS = "/usr/share/vulkan/icd.d";

function lavapipe(): DriverFiles | undefined {
  if (process.platform !== "linux" || !existsSync(MANIFESTS)) return undefined;
  const name = readdirSync(MANIFESTS).find((file) => /^lvp_icd.*\.json$/.test(file));
  return name === undefined ? undefined : { manifest: join(MANIFESTS, name), loader: "libvulkan.so.1" };
}

function swiftShader(): DriverFiles {
  const folder = softwareDriver();
  return { manifest: join(folder, "vk_swiftshader_icd.json"), loader: join(folder, "libvulkan.so.1") };
}

/** The folder with SwiftShader and a loader, unpacked, shared by all test processes. */
export function softwareDriver(): string {
  const manifest = join(packageFolder(), "package.json");
  const { version } = JSON.parse(readFileSync(manifest, "utf8"));
  const folder = join(tmpdir(), `shardgrad-swiftshader-${version}`);
  if (existsSync(folder)) return folder;
  // Renamed into place when complete: several processes may do this at once, and one of them wins.
  const own = `${folder}-${process.pid}`;
  mkdirSync(own, { recursive: true });
  const tar = brotliDecompressSync(readFileSync(join(packageFolder(), "bin/swiftshader.tar.br")));
  for (const { name, content } of filesOfTar(tar)) writeFileSync(join(own, name), content, { mode: 0o755 });
  try {
    renameSync(own, folder);
  } catch {
    rmSync(own, { recursive: true });
  }
  return folder;
}

function packageFolder(): string {
  return dirname(dirname(require.resolve("@sparticuz/chromium")));
}

/** The files of a tar archive: headers of 512 bytes, contents padded to the same. */
function* filesOfTar(tar: Buffer): Generator<{ name: string; content: Buffer }> {
  const text = (from: number, to: number) => tar.toString("latin1", from, to).replace(/\0.*$/s, "");
  for (let at = 0; at + 512 <= tar.length && text(at, at + 100) !== ""; ) {
    const size = Number.parseInt(text(at + 124, at + 136), 8);
    const name = text(at, at + 100)
      .split("/")
      .at(-1)!;
    if (size > 0) yield { name, content: tar.subarray(at + 512, at + 512 + size) };
    at += 512 + Math.ceil(size / 512) * 512;
  }
}
