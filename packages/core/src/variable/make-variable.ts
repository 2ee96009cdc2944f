import { type DType, dtypeInfo, ownerShift, type TypedArray } from "@shardgrad/workers";
import { ClosedRuntimeError, OptionError } from "../errors/index.js";
import { runtimeInternals } from "../runtime/internals.js";
import { Runtime } from "../runtime/runtime.js";
import { describe } from "./describe.js";
import { storageBeside } from "./followers.js";
import { VariableHeader } from "./header.js";
import { type Initializer, initialValues } from "./initializers.js";
import { type VariableInternals, variableInternals } from "./internals.js";
import {
  besideOf,
  checkNames,
  checkReserve,
  isInitializer,
  laterOf,
  type VariableOptions,
} from "./options.js";
import type { StoragePlan } from "./resize-plan.js";
import { Storage } from "./storage.js";
import { type NestedArray, rowSizeOf, sizeOf } from "./values.js";
import type { Variable } from "./variable.js";

/** What a variable begins with. Its elements have their values, unless it is a slot that is filled later. */
export interface NewVariable {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly internals: VariableInternals;
  /** The variable that it stands beside, if it is a slot that does. */
  readonly model: Variable | undefined;
}

let created = 0;

/**
 * A class for speed: object literals that hold a function are each of a hidden class of their own, which made steps over
 * many variables several times slower. Functions and accessors are kept out of its fields for the same reason.
 */
class Internals implements VariableInternals {
  readonly followers = new Set<never>();
  lazy: VariableInternals["lazy"] = undefined;
  mark: VariableInternals["mark"] = undefined;
  readonly #publish: VariableInternals["publish"];

  constructor(
    readonly name: string,
    readonly storage: Storage,
    readonly runtime: Runtime,
    readonly rowSize: number,
    readonly header: VariableHeader,
    readonly model: VariableInternals | undefined,
    readonly pin: number,
    public place: VariableInternals["place"],
    readonly initializer: VariableInternals["initializer"],
    publish: VariableInternals["publish"],
  ) {
    this.#publish = publish;
  }

  publish(rows: number, plan: StoragePlan): void {
    this.#publish(rows, plan);
  }
}

/**
 * Checks everything, takes the memory and fills it.
 * @param publish - shows another number of rows, later
 * @throws as the constructor of Variable; all memory has been given back
 */
export function makeVariable(
  initialValue: NestedArray | TypedArray | Initializer,
  options: VariableOptions,
  publish: VariableInternals["publish"],
): NewVariable {
  checkNames(options);
  const { shape, dtype } = describe(initialValue, options);
  const reserve = checkReserve(options.reserveRows, shape);
  const fill = initialValues(initialValue, shape, dtype);
  const runtime = options.runtime ?? Runtime.default();
  const { memory, device } = checkRuntime(runtime);
  const model = besideOf(options);
  const rowSize = rowSizeOf(shape);
  const storage =
    model === undefined
      ? Storage.create(memory, dtype, sizeOf(shape), rowSize, reserve * rowSize)
      : storageBeside(model, shape, dtype);
  try {
    const { segments } = storage;
    const header =
      model === undefined
        ? VariableHeader.create(segments.length, ownerShift(rowSize * dtypeInfo[dtype].bytes), () =>
            device.settle(),
          )
        : VariableHeader.beside(model[variableInternals].header, segments.length);
    header.publish(shape[0] ?? 1, rowSize, segments);
    const later = laterOf(options);
    for (const { view, start } of segments) {
      if (later === undefined) fill(view, start);
      else later.push({ view, start, fill });
    }
    const internals = new Internals(
      options.name ?? "Variable",
      storage,
      runtime,
      rowSize,
      header,
      model?.[variableInternals],
      created++,
      options.device ?? "auto",
      isInitializer(initialValue) ? initialValue : "zeros",
      publish,
    );
    return { shape: Object.freeze([...shape]), dtype, internals, model };
  } catch (error) {
    storage.release();
    throw error;
  }
}

/** @throws OptionError, ClosedRuntimeError */
function checkRuntime(runtime: Runtime): Runtime[typeof runtimeInternals] {
  const internals = runtime[runtimeInternals];
  if (internals === undefined) {
    throw new OptionError({ argument: "runtime", received: runtime, expected: "a Runtime" });
  }
  if (runtime.closed) throw new ClosedRuntimeError();
  return internals;
}
