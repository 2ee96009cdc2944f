import { LaneLostError, MemoryExhaustedError, type TypedArray } from "@shardgrad/workers";
import { WorkerLostError } from "../errors/index.js";
import type { HeldTensor } from "../gradients/held-tensor.js";
import { TensorGradients } from "../gradients/tensor-gradients.js";
import { variableInternals } from "../variable/internals.js";
import type { Variable } from "../variable/variable.js";
import { ArrivingTensors } from "./arriving-tensors.js";
import type { StepCall, StepHooks } from "./begin.js";
import { internalsOf } from "./slots.js";
import type { OptimizerState } from "./state.js";

/** Performs a call whose gradients are arrays. */
type Perform = (call: StepCall) => Promise<void>;

/**
 * A step some of whose gradients are tensors of tfjs. As a rule their values come to the host first, and the step is one
 * with arrays. Where an accelerator takes tensors, the step begins with arrays that are filled meanwhile.
 */
export class TensorStep {
  readonly #call: StepCall;
  readonly #tensors: TensorGradients;
  readonly #state: OptimizerState;
  readonly #hooks: StepHooks;
  /** Whether something may come between the call's gradients and the step's. */
  readonly #aggregates: boolean;

  private constructor(
    call: StepCall,
    tensors: TensorGradients,
    state: OptimizerState,
    hooks: StepHooks,
    aggregates: boolean,
  ) {
    this.#call = call;
    this.#tensors = tensors;
    this.#state = state;
    this.#hooks = hooks;
    this.#aggregates = aggregates && !call.skipGradientsAggregation;
  }

  /** Undefined for a call with arrays only. @throws as TensorGradients.of */
  static of(
    call: StepCall,
    state: OptimizerState,
    hooks: StepHooks,
    aggregates: boolean,
  ): TensorStep | undefined {
    const tensors = TensorGradients.of(call.list);
    return tensors === undefined ? undefined : new TensorStep(call, tensors, state, hooks, aggregates);
  }

  /** @throws (rejects) ShapeError, GradientReadError, and what `perform` rejects with */
  async perform(perform: Perform): Promise<void> {
    this.#tensors.checkShapes();
    if (this.#mayArriveLater()) {
      const rowNumbers = await this.#tensors.rowNumbers();
      const arriving = this.#mayArriveLater() ? this.#arriving(rowNumbers) : undefined;
      if (arriving !== undefined) {
        await performArriving(perform, { ...this.#call, ...arriving });
        return;
      }
    }
    const list = await this.#tensors.arrays(this.#aggregates);
    await perform({ ...this.#call, list });
  }

  /** Lets go of the tensors. */
  release(): void {
    this.#tensors.release();
  }

  /** Whether an accelerator may take the step before the host has its gradients: those alone are used, and in kernels. */
  #mayArriveLater(): boolean {
    const { built, options } = this.#state;
    const { placed } = internalsOf(this.#call.runtime);
    return (
      built &&
      options.jitCompile &&
      options.sparseEma === "eager" &&
      !this.#aggregates &&
      placed?.accelerator?.takesTensors !== undefined &&
      this.#call.list.every(([, variable]) => this.#isPlain(variable))
    );
  }

  #isPlain(variable: Variable): boolean {
    const { storage, lazy } = variable[variableInternals];
    return storage.segments.length === 1 && lazy === undefined && this.#hooks.kernelsOf(variable) !== null;
  }

  /** The pairs of the call with arrays beside the variables that are being filled; undefined without room for them. */
  #arriving(
    rowNumbers: readonly (TypedArray | undefined)[],
  ): { list: StepCall["list"]; arriving: ArrivingTensors } | undefined {
    const { memory } = internalsOf(this.#call.runtime);
    const arriving = new ArrivingTensors(memory);
    try {
      const arrayFor = (held: HeldTensor, variable: Variable) => arriving.add(held, variable);
      const list = this.#tensors.pairsWith(rowNumbers, arrayFor);
      arriving.start();
      return { list, arriving };
    } catch (error) {
      arriving.release();
      if (error instanceof MemoryExhaustedError) return undefined;
      throw error;
    }
  }
}

async function performArriving(
  perform: Perform,
  call: StepCall & { readonly arriving: ArrivingTensors },
): Promise<void> {
  let ended: Promise<unknown> | undefined;
  try {
    await perform(call);
  } catch (error) {
    const cause = error instanceof WorkerLostError ? error.cause : undefined;
    if (cause instanceof LaneLostError) ended = cause.ended;
    throw error;
  } finally {
    // A thread that was given up may read for a moment still.
    if (ended === undefined) call.arriving.release();
    else void ended.then(() => call.arriving.release());
  }
}
