export type { ArgumentErrorInit, Damage, UpdateStepErrorInit, WorkerLostErrorInit } from "./errors.js";
export {
  ArgumentError,
  ClosedRuntimeError,
  DisposedVariableError,
  DtypeError,
  DuplicateVariableError,
  GradientReadError,
  IndexError,
  NoGradientsError,
  OptionError,
  QueueFullError,
  ShapeError,
  ShardgradError,
  SplitVariableError,
  StaleValuesError,
  StateError,
  UnknownVariableError,
  UpdateStepError,
  WorkerLostError,
} from "./errors.js";
export { formatPythonFloat, formatReceived } from "./format.js";
