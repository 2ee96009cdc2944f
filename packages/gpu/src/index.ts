export * from "./backend/contract.js";
export { CudaBackend } from "./cuda/backend.js";
export { type OpenCudaOptions, openCuda } from "./cuda/open.js";
export { DeviceLostError, GpuMemoryError } from "./errors.js";
export { GpuExecutor } from "./execute/executor.js";
export * from "./kernels/table.js";
export { openAccelerator } from "./open.js";
export { type OpenTfjsOptions, openTfjs } from "./tfjs/open.js";
export { debugLoseWebGpu, type OpenWebGpuOptions, openWebGpu } from "./webgpu/open.js";
