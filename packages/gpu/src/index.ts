export * from "./backend/contract.js";
export { DeviceLostError, GpuMemoryError } from "./errors.js";
export * from "./kernels/table.js";
export { type OpenWebGpuOptions, openWebGpu } from "./webgpu/open.js";
