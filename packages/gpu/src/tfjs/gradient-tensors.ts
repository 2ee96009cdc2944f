import type { StepPlan } from "@shardgrad/workers";
import { tensorsOf } from "../execute/tensor-gradients.js";
import type { Tf, TfTensor } from "./tf.js";

/** The tensors of the application that gradients of steps come from, for the ops of tfjs. */
export class GradientTensors {
  readonly #tf: Tf;

  constructor(tf: Tf) {
    this.#tf = tf;
  }

  /** Whether all gradients of a plan that are on their way to the host can be taken from their tensors. */
  haveAll(plan: StepPlan): boolean {
    for (const tensor of tensorsOf(plan)) if (!this.#isUsable(tensor)) return false;
    return true;
  }

  /** The tensor of the gradient at a place, if the ops can take it; the host has its values otherwise. */
  at({ arriving }: Pick<StepPlan, "arriving">, memory: number, offset: number): TfTensor | undefined {
    const tensor = arriving?.tensorAt(memory, offset);
    if (tensor === undefined) return undefined;
    if (this.#isUsable(tensor)) return tensor as TfTensor;
    if (arriving!.isHere) return undefined;
    throw new Error("A gradient is neither on the back end nor on the host.");
  }

  /** Of another back end than the one that computes, tfjs would read the values there first, which not all can do. */
  #isUsable(tensor: object): boolean {
    const { dataId, isDisposed } = tensor as TfTensor;
    if (isDisposed) return false;
    return this.#tf.engine?.().state.tensorInfo.get(dataId)?.backend === this.#tf.backend();
  }
}
