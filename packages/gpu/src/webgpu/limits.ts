/// <reference types="@webgpu/types" />
import { ALIGNMENT } from "../backend/contract.js";
import { gpuKernels } from "../kernels/table.js";
import { SCALARS_BYTES } from "./pipelines.js";
import { LANES } from "./shaders/common.js";
import { SORT_BYTES } from "./shaders/groups.js";

const storageBuffers = Math.max(...Object.values(gpuKernels).map(({ buffers }) => buffers.length));

/** What the kernels need of a device: the least, or the most where it is an alignment. */
const needed: readonly (readonly [keyof GPUSupportedLimits, "least" | "most", number])[] = [
  ["maxStorageBuffersPerShaderStage", "least", storageBuffers],
  ["maxComputeInvocationsPerWorkgroup", "least", LANES],
  ["maxComputeWorkgroupSizeX", "least", LANES],
  ["maxComputeWorkgroupStorageSize", "least", SORT_BYTES],
  ["maxComputeWorkgroupsPerDimension", "least", 65_535],
  ["maxDynamicUniformBuffersPerPipelineLayout", "least", 1],
  ["minStorageBufferOffsetAlignment", "most", ALIGNMENT],
  ["minUniformBufferOffsetAlignment", "most", SCALARS_BYTES],
];

/** Which limit of a device that somebody else has opened is not enough, in words; undefined when all are. */
export function limitMissing(limits: GPUSupportedLimits): string | undefined {
  for (const [name, bound, value] of needed) {
    const has = limits[name] as number;
    if (bound === "least" ? has >= value : has <= value) continue;
    return `${name} is ${has}, and the kernels need at ${bound} ${value}`;
  }
  return undefined;
}
