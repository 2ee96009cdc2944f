export * from "./backend/contract.js";
export { DeviceLostError, GpuMemoryError } from "./errors.js";
export { GpuExecutor } from "./execute/executor.js";
export * from "./kernels/table.js";
export { openAccelerator } from "./open.js";
export { type OpenWebGpuOptions, openWebGpu } from "./webgpu/open.js";
