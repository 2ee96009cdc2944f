import type { Accelerator, OpenOptions } from "@shardgrad/workers";
import type { GpuBackend } from "./backend/contract.js";
import { openCuda } from "./cuda/open.js";
import { GpuExecutor } from "./execute/executor.js";
import { openTfjs } from "./tfjs/open.js";
import { openWebGpu } from "./webgpu/open.js";

/** How each kind is opened: a back end, or why there is none. */
const openers: Partial<Record<GpuBackend["kind"], (software: boolean) => Promise<GpuBackend | string>>> = {
  cuda: () => openCuda(),
  webgpu: (software) => openWebGpu({ software }),
};

/** The first device that works; or why there is none, one line for each kind. */
export async function openAccelerator({
  kinds,
  host,
  software,
  tf,
}: OpenOptions): Promise<Accelerator | readonly string[]> {
  const reasons: string[] = [];
  for (const kind of kinds) {
    if (kind === "tfjs") {
      const opened = await openTfjs({ tf, host, software });
      if (typeof opened !== "string") return opened;
      reasons.push(opened);
      continue;
    }
    const opened = (await openers[kind]?.(software)) ?? `${kind}: not in this version`;
    if (typeof opened !== "string") return new GpuExecutor(opened, host);
    reasons.push(opened);
  }
  return reasons;
}
