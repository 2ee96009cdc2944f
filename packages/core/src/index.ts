export type { DType, TypedArray } from "@shardgrad/workers";
export * from "./errors/errors.js";
export { channels, type EventName } from "./events/channels.js";
export { type GradientAggregator, InProcessAggregator } from "./gradients/aggregators.js";
export type { Gradient, GradientPair } from "./gradients/gradient.js";
export { IndexedSlices, type IndexedSlicesLike, type RowIndices } from "./gradients/indexed-slices.js";
export type { GradientTape, LossWithGradients } from "./gradients/tape.js";
export type { TensorLike } from "./gradients/tensor.js";
export { HashedIds, type HashedIdsOptions } from "./ids/hashed-ids.js";
export { IdMap, type IdMapOptions } from "./ids/id-map.js";
export type { IdMapState, IdType } from "./ids/id-map-state.js";
export type { IdList } from "./ids/keys.js";
export type { Id, IdBatch, IntegerIdArray } from "./ids/words.js";
export {
  type AccumulatorKind,
  Adagrad,
  type AdagradOptions,
  type DuplicateIndices,
} from "./optimizer/adagrad.js";
export type { OptimizerConfig } from "./optimizer/config.js";
export type { IterationEvent, OptimizerEvents } from "./optimizer/events.js";
export { type ApplyOptions, type FromConfigOptions, Optimizer } from "./optimizer/optimizer.js";
export type { OptimizerOptions } from "./optimizer/options.js";
export type { ReferenceOptions } from "./optimizer/slots.js";
export type { KernelUpdate, StepGradient } from "./optimizer/step.js";
export type { VariablePlacement } from "./placement/policy.js";
export type { RuntimeEvents } from "./runtime/events.js";
export type { RuntimeOptions } from "./runtime/options.js";
export type { Placement } from "./runtime/placement.js";
export { type CloseOptions, Runtime } from "./runtime/runtime.js";
export * from "./schedules/index.js";
export { AttachedVariable, type AttachOptions } from "./variable/attached.js";
export type { VariableHandle } from "./variable/handle.js";
export type { Initializer, NormalOptions, UniformOptions } from "./variable/initializers.js";
export type { ResizeOptions } from "./variable/resize.js";
export type { NestedArray } from "./variable/values.js";
export { Variable, type VariableOptions, type VariableSegment } from "./variable/variable.js";
