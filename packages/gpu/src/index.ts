export * from "./backend/contract.js";
export { DeviceLostError, GpuMemoryError } from "./errors.js";
export * from "./kernels/table.js";
