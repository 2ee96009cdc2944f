import { nameClass, ShardgradError } from "@shardgrad/workers";
import { formatReceived } from "./format.js";

export { MemoryExhaustedError, ShardgradError } from "@shardgrad/workers";

/** What is known about one variable, or a part of it, after a step that did not end as it should. */
export interface Damage {
  /** The name of the variable. */
  readonly variable: string;
  /** Whether the step was applied to it; "unknown" means that the values may be half old, half new. */
  readonly state: "unknown" | "notApplied" | "applied";
  /** The flat element offsets this is about, from the first up to but not including the second. Absent: all. */
  readonly elements?: readonly [start: number, end: number];
  /** The rows this is about, for a sparse step. Absent: all. */
  readonly rows?: readonly number[];
}

/** What {@link ArgumentError} and its subclasses are made of. */
export interface ArgumentErrorInit {
  /** The name of the argument or option, as the caller wrote it. */
  readonly argument: string;
  /** The value that was given. */
  readonly received: unknown;
  /** What would have been accepted, as a phrase: "a finite number". */
  readonly expected: string;
  /** The whole message, in place of the one made from the other three. */
  readonly message?: string;
  readonly cause?: unknown;
}

/** What {@link WorkerLostError} is made of. */
export interface WorkerLostErrorInit {
  readonly damage: readonly Damage[];
  readonly message?: string;
  readonly cause?: unknown;
}

/** What {@link UpdateStepError} is made of. */
export interface UpdateStepErrorInit {
  readonly damage: readonly Damage[];
  readonly cause: unknown;
  readonly message?: string;
}

function causeOf(init: { readonly cause?: unknown }): ErrorOptions | undefined {
  return "cause" in init ? { cause: init.cause } : undefined;
}

function describeDamage({ variable, state, elements, rows }: Damage): string {
  const part = elements !== undefined ? ` [${elements[0]}, ${elements[1]})` : "";
  const named = rows !== undefined ? ` (${rows.length} rows)` : "";
  return `${variable}${part}${named} ${state === "notApplied" ? "not applied" : state}`;
}

function describeAll(damage: readonly Damage[]): string {
  if (damage.length === 0) return "No variable was changed.";
  const listed = damage.slice(0, 5).map(describeDamage).join("; ");
  return `Damage: ${listed}${damage.length > 5 ? `; and ${damage.length - 5} more` : ""}.`;
}

/** Thrown when a value that was given is not acceptable (Keras' ValueError); the base of all such errors. */
export class ArgumentError extends ShardgradError {
  static {
    nameClass(ArgumentError.prototype, "ArgumentError");
  }

  override readonly code: string = "ERR_SHARDGRAD_ARGUMENT";
  /** The name of the argument or option, as the caller wrote it. */
  readonly argument: string;
  /** The value that was given. */
  readonly received: unknown;
  /** What would have been accepted. */
  readonly expected: string;

  constructor(init: ArgumentErrorInit) {
    super(
      init.message ?? `\`${init.argument}\`: expected ${init.expected}, got ${formatReceived(init.received)}`,
      causeOf(init),
    );
    this.argument = init.argument;
    this.received = init.received;
    this.expected = init.expected;
  }
}

/** Thrown when the shape or the length of values does not fit where they are to go. */
export class ShapeError extends ArgumentError {
  static {
    nameClass(ShapeError.prototype, "ShapeError");
  }

  override readonly code: string = "ERR_SHARDGRAD_SHAPE";
}

/** Thrown when the element type of values is not the one needed, or is not supported. */
export class DtypeError extends ArgumentError {
  static {
    nameClass(DtypeError.prototype, "DtypeError");
  }

  override readonly code: string = "ERR_SHARDGRAD_DTYPE";
}

/** Thrown when a row index of a sparse gradient is not an integer within the variable. */
export class IndexError extends ArgumentError {
  static {
    nameClass(IndexError.prototype, "IndexError");
  }

  override readonly code: string = "ERR_SHARDGRAD_INDEX";
}

/** Thrown when an option or a config value is unknown or bad (Keras' ValueError and TypeError). */
export class OptionError extends ArgumentError {
  static {
    nameClass(OptionError.prototype, "OptionError");
  }

  override readonly code: string = "ERR_SHARDGRAD_OPTION";
}

/** Thrown when a step names a variable that was not there when the optimizer was built (Keras' KeyError). */
export class UnknownVariableError extends ArgumentError {
  static {
    nameClass(UnknownVariableError.prototype, "UnknownVariableError");
  }

  override readonly code: string = "ERR_SHARDGRAD_UNKNOWN_VARIABLE";
}

/** Thrown when one list names the same variable twice. */
export class DuplicateVariableError extends ArgumentError {
  static {
    nameClass(DuplicateVariableError.prototype, "DuplicateVariableError");
  }

  override readonly code: string = "ERR_SHARDGRAD_DUPLICATE_VARIABLE";
}

/** Thrown when a variable is used after its memory was given back. */
export class DisposedVariableError extends ArgumentError {
  static {
    nameClass(DisposedVariableError.prototype, "DisposedVariableError");
  }

  override readonly code: string = "ERR_SHARDGRAD_DISPOSED_VARIABLE";
}

/** Thrown when a list of pairs is empty or holds no gradient at all. */
export class NoGradientsError extends ArgumentError {
  static {
    nameClass(NoGradientsError.prototype, "NoGradientsError");
  }

  override readonly code: string = "ERR_SHARDGRAD_NO_GRADIENTS";
}

/** Thrown when a call comes at the wrong time, such as setting `iterations` after the optimizer was built. */
export class StateError extends ShardgradError {
  static {
    nameClass(StateError.prototype, "StateError");
  }

  override readonly code: string = "ERR_SHARDGRAD_STATE";
}

/** Thrown when one array is asked of a variable that lies in several memories; read its `segments` instead. */
export class SplitVariableError extends ShardgradError {
  static {
    nameClass(SplitVariableError.prototype, "SplitVariableError");
  }

  override readonly code: string = "ERR_SHARDGRAD_SPLIT_VARIABLE";
}

/** Thrown when the host's copy of values is asked for that a device has changed since; nothing was changed. */
export class StaleValuesError extends ShardgradError {
  static {
    nameClass(StaleValuesError.prototype, "StaleValuesError");
  }

  override readonly code: string = "ERR_SHARDGRAD_STALE_VALUES";

  constructor(
    message = "The current values are on the device: `await variable.read()` gives a copy of them, " +
      "`await runtime.synchronize()` brings all of them to the host.",
  ) {
    super(message);
  }
}

/** Thrown when a runtime is used after `close`. */
export class ClosedRuntimeError extends ShardgradError {
  static {
    nameClass(ClosedRuntimeError.prototype, "ClosedRuntimeError");
  }

  override readonly code: string = "ERR_SHARDGRAD_CLOSED_RUNTIME";

  constructor(message = "The runtime is closed.", options?: ErrorOptions) {
    super(message, options);
  }
}

/** Thrown when more steps wait in a runtime than its `maxQueue` allows. */
export class QueueFullError extends ShardgradError {
  static {
    nameClass(QueueFullError.prototype, "QueueFullError");
  }

  override readonly code: string = "ERR_SHARDGRAD_QUEUE_FULL";

  constructor(message = "The queue of the runtime is full.", options?: ErrorOptions) {
    super(message, options);
  }
}

/**
 * Thrown when the values of a gradient could not be read from its tensor, as that of a device that was lost; nothing of the
 * step has happened. Compute the gradients again.
 */
export class GradientReadError extends ShardgradError {
  static {
    nameClass(GradientReadError.prototype, "GradientReadError");
  }

  override readonly code: string = "ERR_SHARDGRAD_GRADIENT_READ";
  /** The gradient whose values did not come. */
  readonly argument: string;

  constructor(argument: string, init: { readonly cause: unknown; readonly synchronous?: boolean }) {
    super(
      init.synchronous
        ? `\`${argument}\`: the back end of tfjs does not give a tensor's values at once. Use \`applyGradients\`, or ` +
            "give the array of `await tensor.data()`."
        : `\`${argument}\`: the values could not be read from the tensor. Nothing of the step was applied; compute the ` +
            "gradients again.",
      { cause: init.cause },
    );
    this.argument = argument;
  }
}

/** Thrown when a thread ended during a step; `damage` says what became of the variables of the step. */
export class WorkerLostError extends ShardgradError {
  static {
    nameClass(WorkerLostError.prototype, "WorkerLostError");
  }

  override readonly code: string = "ERR_SHARDGRAD_WORKER_LOST";
  /** What became of the variables of the step. */
  readonly damage: readonly Damage[];

  constructor(init: WorkerLostErrorInit) {
    super(
      init.message ?? `A worker thread was lost during a step. ${describeAll(init.damage)}`,
      causeOf(init),
    );
    this.damage = init.damage;
  }
}

/** Thrown when the `updateStep` of an optimizer failed part way; `cause` is what it threw. */
export class UpdateStepError extends ShardgradError {
  static {
    nameClass(UpdateStepError.prototype, "UpdateStepError");
  }

  override readonly code: string = "ERR_SHARDGRAD_UPDATE_STEP";
  /** What became of the variables of the step. */
  readonly damage: readonly Damage[];

  constructor(init: UpdateStepErrorInit) {
    super(init.message ?? `\`updateStep\` failed. ${describeAll(init.damage)}`, { cause: init.cause });
    this.damage = init.damage;
  }
}
