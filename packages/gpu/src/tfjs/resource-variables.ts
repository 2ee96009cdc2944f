import type { Tf, TfTensor } from "./tf.js";
import type { MakeArray, TfArray } from "./tf-array.js";

/** An attribute of an op of TensorFlow. */
interface OpAttribute {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}

/** The back end of tfjs-node and tfjs-node-gpu, as far as it is used here: any op of TensorFlow can be run by its name. */
interface TensorFlowBackend {
  readonly binding: Readonly<Record<AttributeType | "TF_FLOAT" | "TF_INT32", number>>;
  executeSingleOutput(name: string, attributes: OpAttribute[], inputs: TfTensor[]): TfTensor;
  executeMultipleOutputs(
    name: string,
    attributes: OpAttribute[],
    inputs: TfTensor[],
    outputs: number,
  ): TfTensor[];
}

type AttributeType = "TF_ATTR_TYPE" | "TF_ATTR_SHAPE" | "TF_ATTR_STRING" | "TF_ATTR_BOOL";

/**
 * The name by which TensorFlow makes a variable that is like no other (ResourceHandle::ANONYMOUS_NAME). A name of its own
 * for each would leave a compiled kernel for each in the cache of TensorFlow's eager context.
 */
const ANONYMOUS = "cd2c89b7-88b7-44c8-ad83-06c2a9158347";

/**
 * TensorFlow's resource variables, which its ops change in place: a step on a few rows touches only those. For tfjs-node
 * and tfjs-node-gpu; undefined for other back ends.
 *
 * `ResourceApplyAdagrad` is not among the ops: it has no ε, and V2 adds ε to the root, not under it. Those here are what
 * Keras itself runs, or give the same bits.
 */
export function resourceVariables(tf: Tf): MakeArray | undefined {
  const backend = tf.backend();
  return isTensorFlow(backend)
    ? (values) => new ResourceVariable(tf, new VariableOps(backend), values)
    : undefined;
}

function isTensorFlow(backend: unknown): backend is TensorFlowBackend {
  const { binding, executeSingleOutput, executeMultipleOutputs } = backend as Partial<TensorFlowBackend>;
  return [executeSingleOutput, executeMultipleOutputs].every((f) => typeof f === "function") && !!binding;
}

/** The ops on variables of float32, with rows that int32 numbers name. */
class VariableOps {
  readonly #backend: TensorFlowBackend;
  readonly #dtype: OpAttribute;
  readonly #indices: OpAttribute;

  constructor(backend: TensorFlowBackend) {
    this.#backend = backend;
    this.#dtype = this.#attribute("dtype", "TF_ATTR_TYPE", backend.binding.TF_FLOAT);
    this.#indices = this.#attribute("Tindices", "TF_ATTR_TYPE", backend.binding.TF_INT32);
  }

  /** A handle of a variable without values. Of no shape: a shape of its own, too, would leave a kernel in the cache. */
  make(): TfTensor {
    const attributes = [
      this.#attribute("container", "TF_ATTR_STRING", ""),
      this.#attribute("shared_name", "TF_ATTR_STRING", ANONYMOUS),
      this.#dtype,
      this.#attribute("shape", "TF_ATTR_SHAPE", [-1, -1]),
    ];
    return this.#backend.executeSingleOutput("VarHandleOp", attributes, []);
  }

  read(handle: TfTensor): TfTensor {
    return this.#backend.executeSingleOutput("ReadVariableOp", [this.#dtype], [handle]);
  }

  gather(handle: TfTensor, rows: TfTensor): TfTensor {
    return this.#backend.executeSingleOutput("ResourceGather", [this.#dtype, this.#indices], [handle, rows]);
  }

  write(op: "AssignVariableOp" | "AssignAddVariableOp" | "AssignSubVariableOp", ...inputs: TfTensor[]): void {
    this.#backend.executeMultipleOutputs(op, [this.#dtype], inputs, 0);
  }

  scatterUpdate(...inputs: [handle: TfTensor, rows: TfTensor, values: TfTensor]): void {
    this.#backend.executeMultipleOutputs("ResourceScatterUpdate", [this.#dtype, this.#indices], inputs, 0);
  }

  destroy(handle: TfTensor): void {
    const ignore = this.#attribute("ignore_lookup_error", "TF_ATTR_BOOL", true);
    this.#backend.executeMultipleOutputs("DestroyResourceOp", [ignore], [handle], 0);
  }

  #attribute(name: string, type: AttributeType, value: unknown): OpAttribute {
    return { name, type: this.#backend.binding[type], value };
  }
}

/**
 * Ops change the values in place when nothing else has them: a tensor from `values` that still lives costs a copy of the
 * variable, once.
 */
class ResourceVariable implements TfArray {
  readonly shape: TfArray["shape"];
  readonly #ops: VariableOps;
  /** To tfjs a tensor like others. */
  readonly #handle: TfTensor;

  constructor(tf: Tf, ops: VariableOps, values: TfTensor) {
    this.#ops = ops;
    this.shape = [values.shape[0]!, values.shape[1]!];
    this.#handle = tf.keep(ops.make());
    try {
      this.assign(values);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  values(): TfTensor {
    return this.#ops.read(this.#handle);
  }

  rows(numbers: TfTensor): TfTensor {
    return this.#ops.gather(this.#handle, numbers);
  }

  add(matrix: TfTensor): void {
    this.#ops.write("AssignAddVariableOp", this.#handle, matrix);
  }

  subtract(matrix: TfTensor): void {
    this.#ops.write("AssignSubVariableOp", this.#handle, matrix);
  }

  assign(matrix: TfTensor): void {
    this.#ops.write("AssignVariableOp", this.#handle, matrix);
  }

  assignRows(numbers: TfTensor, rows: TfTensor): void {
    this.#ops.scatterUpdate(this.#handle, numbers, rows);
  }

  dispose(): void {
    try {
      this.#ops.destroy(this.#handle);
    } finally {
      this.#handle.dispose();
    }
  }
}
