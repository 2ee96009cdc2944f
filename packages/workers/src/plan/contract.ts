import type { DType } from "../dtype.js";

/**
 * What core hands to a device: one step as plain data. Types only, so that every device (inline, workers,
 * GPU) can take it without importing core.
 */

/** Gradient clipping of a step, Keras' precedence already applied. */
export type ClipPlan =
  | { readonly kind: "none" }
  | { readonly kind: "norm"; readonly limit: number }
  | { readonly kind: "globalNorm"; readonly limit: number }
  | { readonly kind: "value"; readonly limit: number }
  /** By a factor that is known already: a global norm that was taken elsewhere. */
  | { readonly kind: "scale"; readonly factor: number };

/** average = momentum * average + (1 - momentum) * variable; `overwrite` copies it back into the variable. */
export interface AveragePlan {
  readonly momentum: number;
  readonly overwrite: boolean;
}

/** A contiguous part of a variable that lies in one memory; all offsets are byte offsets in that memory. */
export interface SegmentPlan {
  readonly memory: number;
  /** First element of the segment within the variable. */
  readonly start: number;
  readonly count: number;
  readonly variable: number;
  /** 0 where the operation has none. */
  readonly accumulator: number;
  /** 0 where the step keeps no averages. */
  readonly average: number;
  readonly gradient: SegmentGradient;
  /** The lazy block of the segment (see lazy-block.ts), or 0: averages of all rows are kept at every step. */
  readonly lazy: number;
  /** With a lazy block, and for an accelerator only: how far rows are behind at the launch. */
  readonly behind?: BehindRows;
  /** The version words of the segment's row blocks, by which readers on other threads see that a row is being written. */
  readonly versions: number;
  /** Number of those words less one: a power of two less one. */
  readonly versionMask: number;
}

/**
 * How far rows of a table with lazy averages are behind: what a device that does not reach their lazy block needs of it.
 * Where p and q are the factors of a row, average = p * average + q * row brings it up to date.
 */
export interface BehindRows {
  /**
   * A word for each slice in list order, or for each row of a catch-up: the number of the row's factors, 0 where it is up
   * to date; plus OVERWRITE_FLAG where the row takes its average's value afterwards.
   */
  readonly words: Uint32Array;
  /** p and q by number, in pairs, rounded to the dtype; those of number 0 mean nothing. */
  readonly factors: Float64Array;
}

/** The gradient of one segment: none, dense, or slices; offsets are in bytes of the segment's memory. */
export type SegmentGradient =
  | { readonly kind: "none" }
  | { readonly kind: "dense"; readonly offset: number }
  | {
      readonly kind: "slices";
      /** Row numbers within the segment, u32. */
      readonly indices: number;
      readonly values: number;
      readonly count: number;
      /** Of a variable in several memories, the same for each segment. */
      readonly all?: AllSlices;
    };

/** All slices of a step for a variable that lies in several memories. */
export interface AllSlices {
  /** Where values and row numbers lie. */
  readonly memory: number;
  readonly values: number;
  readonly count: number;
  /**
   * Row numbers of the variable, u32, where kernels reach every memory: the segment's slices are then not copied into its
   * own (its `indices` and `values` say nothing), but taken from all. Otherwise only norms are taken of all.
   */
  readonly indices?: number;
}

/** What a step does with one variable. */
export interface UpdatePlan {
  /**
   * `adagrad`: clip, update and average. `clip`: clip the gradient in place. `average`: averages only. `catchUp`: bring
   * lazy averages of all rows up to date. `norm`: nothing but its part of the step's norm.
   */
  readonly operation: "adagrad" | "clip" | "average" | "catchUp" | "norm";
  /** The variable's name, for people. */
  readonly name?: string;
  /** Where the variable is to live; `auto` by default. */
  readonly place?: "auto" | "cpu" | "gpu";
  /** Its averages are kept lazily, by this step's optimizer or another one. */
  readonly keptLazily?: boolean;
  readonly dtype: DType;
  /** Elements of a row: the product of all dimensions but the first. */
  readonly rowSize: number;
  /** Keeps a small variable on one lane for its life. */
  readonly pin: number;
  readonly segments: readonly SegmentPlan[];
  readonly learningRate: number;
  readonly epsilon: number;
  /** Sum the slices of a row before squaring. */
  readonly perRow: boolean;
  /** The accumulator has one element a row, which takes the mean of the row's squares. */
  readonly rowwise: boolean;
}

/** One step as plain data: what to do with each variable, and the clipping and averaging of all of them. */
export interface StepPlan {
  readonly updates: readonly UpdatePlan[];
  readonly clip: ClipPlan;
  readonly average: AveragePlan | null;
  /** Elements that the step reads: the measure by which a device is chosen. */
  readonly elements: number;
  /** An accelerator may take it. */
  readonly accelerated?: boolean;
  /**
   * The same object as in an earlier plan: the updates of both are the same in everything but their rates, of which each plan
   * has one, and where their gradients, all dense, lie on the host. Updates belong to one step at a time; what is to be
   * kept of them after it is copied.
   */
  readonly alike?: object | undefined;
  /** Some of its gradients, where they are still on their way to the host. */
  readonly arriving?: ArrivingGradients | undefined;
}

/** Gradients of a step that tensors of the application's tfjs hold. */
export interface ArrivingGradients {
  /** Whether their values are where the plan says. Until then the host must not read them. */
  readonly isHere: boolean;
  /** Resolves when they are; rejects when they cannot be had. */
  readonly arrived: Promise<void>;
  /** The tensor whose values belong at a place of the host: it has them now, and as long as the step runs. */
  tensorAt(memory: number, offset: number): object | undefined;
}

/** What a completed step reports. */
export interface StepOutcome {
  /** `hybrid`: a part on an accelerator, the rest here. */
  readonly device: "inline" | "workers" | "cuda" | "webgpu" | "tfjs" | "hybrid";
  /** Norm over all gradients before clipping, when the step clips by it. */
  readonly globalNorm?: number;
}

/** State of one part of a variable after a lane was lost in mid-step. */
export interface LaneDamage {
  /** Position of the update in the plan. */
  readonly update: number;
  readonly state: "unknown" | "notApplied" | "applied";
  /** Flat elements [start, end), for dense work. */
  readonly elements?: readonly [number, number];
  /** For row work: the rows of this segment that belong to the lane are `((row >> shift) & mask) % lanes === lane`. */
  readonly rows?: {
    readonly segment: number;
    readonly lane: number;
    readonly lanes: number;
    readonly shift: number;
    readonly mask: number;
  };
}
