/** The base of every error that Shardgrad throws; never thrown itself. */
export class ShardgradError extends Error {
  static {
    nameClass(ShardgradError.prototype, "ShardgradError");
  }

  /** A constant that names the kind of error, the same in every version. */
  readonly code: string = "ERR_SHARDGRAD";
}

/** Thrown when no shared memory is left for what was asked; nothing was changed. */
export class MemoryExhaustedError extends ShardgradError {
  static {
    nameClass(MemoryExhaustedError.prototype, "MemoryExhaustedError");
  }

  override readonly code: string = "ERR_SHARDGRAD_MEMORY";

  /**
   * @param bytes - what was asked for
   * @param reason - what stands against it, where that is known
   */
  constructor(
    readonly bytes: number,
    reason?: string,
  ) {
    super(`No shared memory left for ${bytes} bytes${reason === undefined ? "" : `: ${reason}`}.`);
  }
}

/** The name goes on the prototype: the stack trace reads it there, and it stays out of printed properties. */
export function nameClass(prototype: Error, name: string): void {
  Object.defineProperty(prototype, "name", { value: name, configurable: true, writable: true });
}
