import { nameClass, ShardgradError } from "@shardgrad/workers";

/** The device has no room for a buffer; nothing was changed. */
export class GpuMemoryError extends ShardgradError {
  static {
    nameClass(GpuMemoryError.prototype, "GpuMemoryError");
  }

  override readonly code: string = "ERR_SHARDGRAD_GPU_MEMORY";

  /** @param bytes - what was asked for */
  constructor(
    readonly bytes: number,
    options?: ErrorOptions,
  ) {
    super(`The device has no room for ${bytes} bytes.`, options);
  }
}

/** The device went away with everything on it. */
export class DeviceLostError extends ShardgradError {
  static {
    nameClass(DeviceLostError.prototype, "DeviceLostError");
  }

  override readonly code: string = "ERR_SHARDGRAD_DEVICE_LOST";

  constructor(
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`The device was lost: ${reason}`, options);
  }
}
