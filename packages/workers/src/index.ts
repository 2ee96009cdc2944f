export { type DType, dtypeInfo, type TypedArray, viewOf } from "./dtype.js";
export { MemoryExhaustedError, nameClass, ShardgradError } from "./errors.js";
export { CpuDevice, type CpuDeviceOptions } from "./execute/cpu-device.js";
export { LaneLostError } from "./execute/lane-lost-error.js";
export { doubleFromHalf, halfFromDouble } from "./kernels/instance.js";
export { NORM_BLOCK } from "./kernels/table.js";
export type { Arena, Block } from "./memory/arena.js";
export { type Home, MemoryPool } from "./memory/memory-pool.js";
export type * from "./plan/contract.js";
