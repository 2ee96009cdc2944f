import { checkVariable } from "../gradients/pairs.js";
import { runtimeInternals } from "../runtime/internals.js";
import type { Runtime } from "../runtime/runtime.js";
import { describe } from "../variable/describe.js";
import { FILL_CHUNK } from "../variable/fill-in-parts.js";
import { filling, type Initializer, type PendingFill } from "../variable/initializers.js";
import { variableInternals } from "../variable/internals.js";
import type { NestedArray } from "../variable/values.js";
import { Variable, type VariableOptions, variableBeside } from "../variable/variable.js";
import { writeNow } from "../variable/writes.js";

/** What a slot may differ in from its model variable. */
export interface ReferenceOptions {
  /** Default: the model variable's. */
  readonly shape?: readonly number[] | undefined;
  /** Default: zeros. Its own shape wins over `shape`. */
  readonly initialValue?: NestedArray | Variable["data"] | Initializer | undefined;
}

/** The optimizer variables of one optimizer, in the order in which they were made. */
export class Slots {
  readonly all: Variable[] = [];
  /** Put in front of names while a step builds the optimizer. */
  prefix = "";
  /** While a step builds the optimizer: where large slots leave what is to fill them. */
  pending: PendingFill[] | undefined;
  /** Whether the slots being made may be among them: nobody looks at these before the step does. */
  mayFillLater = false;

  add(initialValue: NestedArray | Variable["data"] | Initializer, options: VariableOptions): Variable {
    return this.#keep(
      new Variable(initialValue, { ...options, name: this.#named(options.name), trainable: false }),
    );
  }

  /**
   * A slot in the same memories as its model variable where the sizes allow, so that kernels reach both and its rows
   * follow the model's.
   */
  addBeside(
    model: Variable,
    name: string,
    { shape, initialValue = "zeros" }: ReferenceOptions,
    runtime: Runtime,
  ): Variable {
    checkVariable(model, "modelVariable");
    const isInitializer = typeof initialValue === "string" || typeof initialValue === "function";
    const own = isInitializer ? (shape ?? model.shape) : describe(initialValue, { dtype: model.dtype }).shape;
    const options: VariableOptions = {
      name: `${name}/${model.name}`,
      dtype: model.dtype,
      runtime,
      ...(isInitializer ? { shape: own } : {}),
    };
    if (!fitsBeside(model, own)) return this.add(initialValue, options);
    const named = { ...options, name: this.#named(options.name), trainable: false };
    const later = this.mayFillLater && model.size > FILL_CHUNK ? this.pending : undefined;
    return this.#keep(variableBeside(model, initialValue, named, later));
  }

  /** Gives back the slots made after the first `count`. */
  dropFrom(count: number): void {
    for (const slot of this.all.splice(count)) slot.dispose();
  }

  #named(name: string | undefined): string {
    return this.prefix + (name ?? "Variable");
  }

  #keep(slot: Variable): Variable {
    this.all.push(slot);
    return slot;
  }
}

/** Whether a slot has an element for each element, or for each row, of each segment of its model variable. */
function fitsBeside(model: Variable, shape: readonly number[]): boolean {
  if (shape.join() === model.shape.join()) return shape.length === model.shape.length;
  const { storage, rowSize } = model[variableInternals];
  return shape.length === 1 && shape[0] === model.shape[0] && storage.hasWholeRows(rowSize);
}

/** Starts as a copy of a variable. */
export function copyOf(variable: Variable): Initializer {
  const { segments } = variable[variableInternals].storage;
  return filling(
    () => (view, start) => {
      const source = segments.findLast((segment) => segment.start <= start)!;
      view.set(source.view.subarray(start - source.start, start - source.start + view.length));
    },
    true,
  );
}

/** Copies the values of one variable into another of the same storage layout. */
export function copyValues(source: Variable, target: Variable): void {
  const from = source[variableInternals].storage.segments;
  const { storage } = target[variableInternals];
  writeNow([target], () => {
    storage.segments.forEach(({ view }, i) => {
      view.set(from[i]!.view);
    });
  });
}

export function internalsOf(runtime: Runtime) {
  return runtime[runtimeInternals];
}
