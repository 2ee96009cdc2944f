import { nameClass, ShardgradError } from "../errors.js";
import type { LaneDamage } from "../plan/contract.js";

/** A lane's thread ended while a step was running. */
export class LaneLostError extends ShardgradError {
  static {
    nameClass(LaneLostError.prototype, "LaneLostError");
  }

  override readonly code: string = "ERR_SHARDGRAD_LANE_LOST";

  /** Settles when the thread has stopped writing; absent where it has already. */
  declare readonly ended?: Promise<unknown>;

  constructor(
    readonly lane: number,
    readonly damage: readonly LaneDamage[],
    {
      cause,
      ended,
      message = `The thread of lane ${lane} ended in mid-step.`,
    }: { readonly cause?: unknown; readonly ended?: Promise<unknown>; readonly message?: string } = {},
  ) {
    super(message, ...(cause === undefined ? [] : [{ cause }]));
    if (ended !== undefined) this.ended = ended;
  }
}
